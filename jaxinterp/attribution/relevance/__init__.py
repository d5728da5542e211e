"""Attribution by rules of the backward pass: relevance, modified gradients."""
