"""Types: in SQL's words (`array<struct<id long, name string>>`, with `not null`), and as the JSON of
describe.md."""

import re
from dataclasses import dataclass, field

_SCALARS = {
    "boolean": "boolean", "bool": "boolean", "integer": "integer", "int": "integer", "long": "long",
    "bigint": "long", "float": "float", "real": "float", "double": "double", "date": "date",
    "timestamp": "timestamp", "string": "string", "binary": "binary",
}
# Deepest nesting of a type.
_DEPTH_MAX = 64


@dataclass
class Type:
    kind: str
    # The members of a struct, the element of an array, key and value of a map.
    fields: "list[Field]" = field(default_factory=list)
    # Of a decimal.
    precision: int = 0
    scale: int = 0

    def __str__(self):
        if self.kind == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if self.kind == "struct":
            return f"struct<{','.join(f'{f.name} {f.type}' for f in self.fields)}>"
        if self.fields:
            return f"{self.kind}<{','.join(str(f.type) for f in self.fields)}>"
        return self.kind

    def to_json(self):
        if self.kind == "array":
            (element,) = self.fields
            return {"type": "array", "elementType": element.type.to_json(), "containsNull": element.nullable}
        if self.kind == "map":
            key, value = self.fields
            return {"type": "map", "keyType": key.type.to_json(), "valueType": value.type.to_json(),
                    "valueContainsNull": value.nullable}
        if self.kind == "struct":
            return {"type": "struct", "fields": [f.to_json() for f in self.fields]}
        return str(self)

    @staticmethod
    def from_json(json):
        if isinstance(json, str):
            return _Words(json).whole_type()
        child = lambda name, member, nullable: Field(name, Type.from_json(json[member]), nullable)
        if json["type"] == "array":
            return Type("array", [child("element", "elementType", json.get("containsNull", True))])
        if json["type"] == "map":
            value = child("value", "valueType", json.get("valueContainsNull", True))
            return Type("map", [child("key", "keyType", False), value])
        if json["type"] == "struct":
            return Type("struct", [Field.from_json(f) for f in json["fields"]])
        raise ValueError(f"there is no type `{json['type']}`")


@dataclass
class Field:
    """A column or a member. `type` is None where a stage reads a column of any type."""

    name: str
    type: "Type | None"
    nullable: bool = True

    def to_json(self):
        return {"name": self.name, "type": self.type.to_json(), "nullable": self.nullable}

    @staticmethod
    def from_json(json):
        return Field(json["name"], Type.from_json(json["type"]), json.get("nullable", True))


def parse_fields(fields, untyped=False):
    """`"total double, label string not null"` as fields; fields are taken as they are."""
    if not isinstance(fields, str):
        return list(fields)
    return _Words(fields).fields(None, 0, untyped) if fields.strip() else []


class _Words:
    def __init__(self, text):
        self.text = text
        self.tokens = re.findall(r"[^\s,:()<>]+|[,:()<>]", text)
        self.at = 0

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1] if self.at <= len(self.tokens) else ""

    def take(self, token):
        if self.tokens[self.at : self.at + 1] != [token]:
            return False
        self.at += 1
        return True

    def expect(self, token):
        if not self.take(token):
            self.wrong()

    def wrong(self):
        raise ValueError(f"`{self.text}` is not made of types such as long, decimal(10,2) or array<string>")

    def fields(self, end, depth, untyped=False):
        fields = []
        while True:
            name = self.next()
            if name in ("", ",", ":", "(", ")", "<", ">"):
                self.wrong()
            self.take(":")
            bare = untyped and self.tokens[self.at : self.at + 1] in ([], [","])
            fields.append(Field(name, None) if bare else self.field(name, depth))
            if not self.take(","):
                break
        if end:
            self.expect(end)
        elif self.at < len(self.tokens):
            self.wrong()
        return fields

    def field(self, name, depth):
        parsed = self.type(depth)
        not_null = self.tokens[self.at : self.at + 2] == ["not", "null"]
        self.at += 2 * not_null
        return Field(name, parsed, not not_null)

    def whole_type(self):
        parsed = self.type(0)
        return parsed if self.at == len(self.tokens) else self.wrong()

    def type(self, depth):
        if depth > _DEPTH_MAX:
            self.wrong()
        word = self.next()
        if word == "decimal":
            return self.decimal()
        if word == "struct":
            self.expect("<")
            return Type("struct", self.fields(">", depth + 1))
        if word == "array":
            return self.nested("array", ["element"], depth + 1)
        if word == "map":
            return self.nested("map", ["key", "value"], depth + 1)
        return Type(_SCALARS[word]) if word in _SCALARS else self.wrong()

    def nested(self, kind, names, depth):
        self.expect("<")
        fields = []
        for name in names:
            if fields:
                self.expect(",")
            fields.append(self.field(name, depth))
        if kind == "map":
            fields[0].nullable = False
        self.expect(">")
        return Type(kind, fields)

    def decimal(self):
        precision, scale = 10, 0
        if self.take("("):
            precision = self.number()
            if self.take(","):
                scale = self.number()
            self.expect(")")
        if not 1 <= precision <= 38 or scale > precision:
            self.wrong()
        return Type("decimal", precision=precision, scale=scale)

    def number(self):
        word = self.next()
        return int(word) if word.isdecimal() else self.wrong()
