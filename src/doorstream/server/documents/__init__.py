"""The documents that describe the interfaces: OpenAPI for what is asked, AsyncAPI for what is streamed.

What the code knows (routes, forms, structs, codes) is taken from there; what only a reader of the code could know, such
as the shape of a vendor's object, stands here in tables by method and path. A route that is in no table and describes
itself nowhere fails a test.
"""
