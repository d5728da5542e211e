"""Do the features that a method calls relevant change the score when they go?"""
