"""One page that asks a network every question that this package can answer."""

from experiments.tour.subject import Subject as Subject
