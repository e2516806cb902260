"""The document is valid OpenAPI 3.1, and every example matches its schema."""

import pytest
import yaml
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from knouds_harness.contract.document import shipped_document
from knouds_harness.locations import document_path

RAW = shipped_document().raw
METHODS = ("get", "put", "post", "delete")


def followed(node):
    while "$ref" in node:
        target = RAW
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def operations():
    for group in ("paths", "webhooks"):
        for item in RAW[group].values():
            for method in METHODS:
                if method in item:
                    yield item[method], item.get("parameters", [])


def bodies():
    """Yield each example of a body: its name, schema and value."""
    for operation, _ in operations():
        contents = {"request": followed(operation.get("requestBody", {})).get("content", {})}
        for status, response in operation["responses"].items():
            contents[status] = followed(response).get("content", {})
        for place, content in contents.items():
            for media in content.values():
                for name, example in media["examples"].items():
                    case = f"{operation['operationId']}-{place}-{name}"
                    yield case, media["schema"], followed(example)["value"]


def values():
    """Yield each example of a parameter or header."""
    for operation, shared in operations():
        for parameter in map(followed, [*shared, *operation.get("parameters", [])]):
            for name, example in parameter["examples"].items():
                case = f"{operation['operationId']}-{parameter['name']}-{name}"
                yield case, parameter["schema"], example["value"]
    for name, header in RAW["components"]["headers"].items():
        yield name, header["schema"], header["example"]


def schemas():
    for name, schema in RAW["components"]["schemas"].items():
        for example in schema.get("examples", []):
            yield f"{name}-{example}", schema, example


EXAMPLES = [*bodies(), *values(), *schemas()]
REGISTRY = Registry().with_resource("knouds:document", DRAFT202012.create_resource(RAW))


def test_document_is_valid_openapi():
    assert list(OpenAPIV31SpecValidator(RAW).iter_errors()) == []


@pytest.mark.parametrize(("schema", "value"), [e[1:] for e in EXAMPLES], ids=[e[0] for e in EXAMPLES])
def test_example_matches_its_schema(schema, value):
    """By another validator than the one that judges servers."""
    anchored = {"$id": "knouds:document-example", **_absolute(schema)}
    validator = OAS31Validator(anchored, registry=REGISTRY, format_checker=oas31_format_checker)

    assert [error.message for error in validator.iter_errors(value)] == []


def _absolute(schema):
    """Make references absolute, so that they lead into the document and not into the schema alone."""
    if isinstance(schema, dict):
        return {
            key: f"knouds:document{value}" if key == "$ref" else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(item) for item in schema] if isinstance(schema, list) else schema


class NoTwins(yaml.SafeLoader):
    """Refuse a mapping with a repeated key; YAML readers silently take the last one."""

    def construct_mapping(self, node, deep=False):  # noqa: FBT002  as the base class has it
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: {keys}"
        return super().construct_mapping(node, deep=deep)


def test_no_key_is_repeated():
    with document_path().open(encoding="utf-8") as stream:
        yaml.load(stream, Loader=NoTwins)  # noqa: S506  a subclass of the safe one
