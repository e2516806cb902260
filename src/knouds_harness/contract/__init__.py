"""The OpenAPI document as typed objects: operations, capabilities, error codes, facts and shapes."""
