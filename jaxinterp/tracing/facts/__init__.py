"""What is known of the values of a program before anything runs.

`flow`: what depends on the input, and who reads what. `roles`: what a primitive does,
and the roles that nodes have. `signs`: what cannot be negative. `axes`, `batch_axis`,
`axis_names`: where axes go. `extents`: which entries of the input are read. `cost`:
FLOPs.
"""
