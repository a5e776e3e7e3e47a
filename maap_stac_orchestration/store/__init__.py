"""Reading objects: S3 through obstore, and local folders in the shape of a bucket.

Here belongs the I/O of objects. Not here: what the objects mean.
"""
