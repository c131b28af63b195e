"""Kubernetes files checked against the types of python3-kubernetes: offline, unknown fields are errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import yaml
from kubernetes.client import models

SCALARS = {"str": str, "int": int, "float": (int, float), "bool": bool}


def documents(path: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def model_of(document: dict) -> type:
    """apps/v1 DaemonSet -> V1DaemonSet."""
    version = document["apiVersion"].rsplit("/", 1)[-1]
    name = version[0].upper() + version[1:] + document["kind"]
    found = getattr(models, name, None)
    assert found is not None, f"no type {document['apiVersion']} {document['kind']}"
    return found


def findings(document: dict) -> list[str]:
    """Every unknown field, wrong type and missing field, with its path."""
    return list(walk(document, model_of(document).__name__, document["kind"]))


def walk(value: Any, type_: str, path: str) -> Iterator[str]:
    if found := re.fullmatch(r"list\[(.+)\]", type_):
        if not isinstance(value, list):
            yield f"{path}: must be a list, is {value!r}"
            return
        for i, item in enumerate(value):
            yield from walk(item, found[1], f"{path}[{i}]")
    elif found := re.fullmatch(r"dict\(str, (.+)\)", type_):
        if not isinstance(value, dict):
            yield f"{path}: must be a map, is {value!r}"
            return
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{path}.{key}: keys are strings"
            yield from walk(item, found[1], f"{path}.{key}")
    elif type_ in SCALARS:
        if not isinstance(value, SCALARS[type_]) or (isinstance(value, bool) and type_ != "bool"):
            yield f"{path}: must be {type_}, is {value!r}"
    elif type_ == "object":
        # An IntOrString, or a quantity in resources: 50m, 64Mi, 1.
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            yield f"{path}: must be a string or a number, is {value!r}"
    elif type_ == "datetime":
        yield f"{path}: not to be set"
    else:
        yield from walk_object(value, getattr(models, type_), path)


def walk_object(value: Any, model: type, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: must be an object, is {value!r}"
        return
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            yield f"{path}.{key}: unknown field"
        else:
            yield from walk(item, model.openapi_types[names[key]], f"{path}.{key}")
    # The models refuse None for what is required: asked one by one.
    for json_name, name in names.items():
        if json_name not in value and required(model, name):
            yield f"{path}.{json_name}: missing"


def required(model: type, name: str) -> bool:
    from kubernetes.client import Configuration

    configuration = Configuration()
    configuration.client_side_validation = True
    blank = model.__new__(model)
    blank.local_vars_configuration = configuration
    try:
        setattr(blank, name, None)
    except ValueError:
        return True
    return False
