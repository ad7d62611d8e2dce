"""The types of answers for the OpenAPI description; tests compare real answers with them.

Documents may have further keys. Requests are described by the structs that parse them.
"""
