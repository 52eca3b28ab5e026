"""A stage: its description, and the two functions of the contract."""

import inspect
import json

from ._frame import FrameError, Made, read_frame, write_frame
from ._types import Field, parse_fields

# The longest reason of a failure, in characters; the rest is cut.
_REASON_MAX = 1000
_TYPE_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false",
               list: "a list", dict: "a table"}
_SCHEMA_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


class Refusal(Exception):
    """What goes to the author of the pipeline: one line, lower case, no full stop. With `config.KEY: `
    in front it points at a key of the configuration."""


class _Definition:
    def __init__(self, function, level, reads, makes, drops, config, name, version, describe):
        self.function, self.level = function, level
        self.reads, self.makes, self.drops = reads, makes, drops
        self.config, self.describe = config, describe
        self.name, self.version = name or function.__name__, version


def _decorator(level):
    def decorator(function=None, *, reads="", makes="", drops=(), config=None, name=None,
                  version="0.1.0", describe=None):
        def define(function):
            return _Definition(function, level, reads, makes, drops, config or {}, name, version, describe)
        return define(function) if function else define
    return decorator


stage = _decorator("rows")
stage.__doc__ = """A stage at the level of rows: `function(row, config)`, or `function(row)`.

The function answers True (keep the row), False or None (drop it), a dict (keep it with the columns that
the stage makes), or a list or generator of dicts (any number of rows). An exception refuses the row with
its text as the reason.

reads: the columns that are read, `"city string, order_id long"`, or names alone for any type.
makes: the columns that are made, `"total double, label string not null"`.
drops: the names of input columns that end here.
config: the keys of the configuration, `{"city": str}`, or `{"limit": (int, 10)}` with a default.
describe: what depends on the configuration and on the input's columns: `describe(config, input)` answers
a dict with any of reads, makes and drops."""

columns = _decorator("columns")
columns.__doc__ = """A stage at the level of columns: `function(batch, output, config)`. `batch[name]` is a
column, `output[name] = values` a made one (a list, or a column of the batch), `output.rows` the input rows
that are kept (None: all, in their place), `output.fail(row, reason)` refuses a row. The arguments are those
of `stage`."""


def export(*definitions, **named):
    """The class that componentize-py looks for: `WitWorld = gristmill.export(keep_city)`. With several
    stages, the key `stage` of the configuration says which one runs."""
    from componentize_py_types import Err
    from wit_world import WitWorld

    stages = {definition.name: definition for definition in definitions} | named
    running = None

    class Exported(WitWorld):
        def describe(self, request: str) -> str:
            nonlocal running
            try:
                running, answer = _describe(stages, json.loads(request))
                return answer
            except Exception as error:
                raise Err(_text(error)) from None

        def process(self, batch: bytes) -> bytes:
            try:
                if running is None:
                    raise Refusal("process was called before describe")
                return running.process(batch)
            except Exception as error:
                raise Err(_text(error)) from None

    return Exported


def _text(error):
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, FrameError):
        return f"a malformed frame: {error}"
    return f"{type(error).__name__}: {error}"


def _describe(stages, request):
    if not request["contract"].startswith("1."):
        raise Refusal(f"the host speaks contract {request['contract']}, this module 1.0")
    config = request.get("config") or {}
    if len(stages) == 1:
        (definition,) = stages.values()
    else:
        definition = stages.get(config.pop("stage", None))
        if definition is None:
            raise Refusal(f"config.stage: one of {', '.join(stages)} is expected")
    running = _Running(definition, config, [Field.from_json(field) for field in request["input"]])
    return running, json.dumps(running.answer())


def _read_config(declared, given):
    config = {}
    for key, kind in declared.items():
        kind, *default = kind if isinstance(kind, tuple) else (kind,)
        value = given.get(key, *default) if default or key in given else None
        if value is None and not default:
            raise Refusal(f"config.{key}: this key is required")
        number = kind is float and isinstance(value, int)
        if not isinstance(value, kind) and not number or kind is not bool and isinstance(value, bool):
            raise Refusal(f"config.{key}: expected {_TYPE_NAMES.get(kind, kind.__name__)}")
        config[key] = value
    for key in given:
        if key not in declared:
            raise Refusal(f"config.{key}: unknown key; keys: {', '.join(declared) or 'none'}")
    return config


def _config_schema(declared):
    """The JSON Schema of what is declared, for editors and for `gristmill stage inspect`."""
    properties, required = {}, []
    for key, kind in declared.items():
        kind, *default = kind if isinstance(kind, tuple) else (kind,)
        properties[key] = {"type": _SCHEMA_TYPES[kind]} if kind in _SCHEMA_TYPES else {}
        if default:
            properties[key]["default"] = default[0]
        else:
            required.append(key)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _input_field(wanted, columns):
    field = next((field for field in columns if field.name == wanted.name), None)
    if field is None:
        raise Refusal(f"the stage reads `{wanted.name}`, and there is no such column")
    if wanted.type and str(wanted.type) != str(field.type):
        raise Refusal(f"the stage reads column `{wanted.name}` as {wanted.type}, and it is {field.type}")
    return field


class _Running:
    def __init__(self, definition, config, columns):
        self.definition = definition
        self.config = _read_config(definition.config, config)
        more = definition.describe(self.config, columns) if definition.describe else {}
        part = lambda name: more.get(name, getattr(definition, name))
        self.reads = [_input_field(field, columns) for field in parse_fields(part("reads"), untyped=True)]
        self.makes = parse_fields(part("makes"))
        self.drops = list(part("drops"))
        self.run = self.run_rows if definition.level == "rows" else self.run_columns

    def answer(self):
        return {
            "contract": "1.0", "encoding": "frame",
            "name": self.definition.name, "version": self.definition.version,
            "reads": [field.name for field in self.reads],
            "columns": [field.to_json() for field in self.makes],
            "drops": self.drops,
            "config_schema": _config_schema(self.definition.config),
        }

    def process(self, frame):
        row_count, columns = read_frame(frame, self.reads)
        rows, made, failures = self.run(row_count, columns)
        if rows is not None and not failures and rows == list(range(row_count)):
            rows = None
        out_count = row_count if rows is None else len(rows)
        for field, column in zip(self.makes, made):
            if column.length != out_count:
                raise Refusal(f"the stage made {column.length} values of column `{field.name}` for {out_count} rows")
            if column.null_count and not field.nullable:
                raise Refusal(f"the stage left column `{field.name}` null, which is `not null`")
        return write_frame(out_count, rows, made, failures)

    def run_columns(self, row_count, columns):
        output = Output(self.makes)
        batch = Batch(row_count, dict(zip([field.name for field in self.reads], columns)))
        self.definition.function(batch, output, self.config)
        return output.end()

    def run_rows(self, row_count, columns):
        names = [field.name for field in self.reads]
        lists = [column.to_list() for column in columns]
        dicts = [dict(zip(names, values)) for values in zip(*lists)] if lists else [{} for _ in range(row_count)]
        rows, answers, failures = [], [], []
        function = self.definition.function
        call = function if _takes_config(function) else lambda row, _: function(row)
        for index, row in enumerate(dicts):
            try:
                answer = call(row, self.config)
                if answer is None or answer is False:
                    continue
                if answer is True:
                    answer = ({},)
                elif isinstance(answer, dict):
                    answer = (answer,)
                else:
                    answer = list(answer)
                self.check_nulls(answer)
            except Exception as error:
                failures.append((index, (str(error) or type(error).__name__)[:_REASON_MAX]))
                continue
            answers += answer
            rows += [index] * len(answer)
        return self.made(rows, answers, failures)

    def check_nulls(self, answer):
        for field in self.makes:
            if not field.nullable and any(row.get(field.name) is None for row in answer):
                raise ValueError(f"`{field.name}` is None, which is `not null`")

    def made(self, rows, answers, failures):
        columns = [Made(field.type, [row.get(field.name) for row in answers]) for field in self.makes]
        return rows, columns, failures


def _takes_config(function):
    return len(inspect.signature(function).parameters) > 1


class Batch:
    """The rows that arrive, as columns by their names."""

    def __init__(self, row_count, columns):
        self.row_count = row_count
        self.columns = columns

    def __getitem__(self, name):
        return self.columns[name]

    def __len__(self):
        return self.row_count


class Output:
    """What a stage makes of a batch."""

    def __init__(self, makes):
        self._makes = {field.name: field for field in makes}
        self._made = {}
        self._failures = []
        self.rows = None

    def __setitem__(self, name, values):
        if name not in self._makes:
            raise KeyError(f"the stage makes no column `{name}`")
        given = hasattr(values, "buffers")
        self._made[name] = values if given else Made(self._makes[name].type, list(values))

    def fail(self, row, reason):
        """Refuses an input row: in ascending order, each once, none of them kept."""
        self._failures.append((row, reason[:_REASON_MAX]))

    def end(self):
        missing = [name for name in self._makes if name not in self._made]
        if missing:
            raise Refusal(f"the stage made no column `{missing[0]}`")
        rows = None if self.rows is None else list(self.rows)
        return rows, [self._made[name] for name in self._makes], self._failures
