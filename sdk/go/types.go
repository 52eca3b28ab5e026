package gristmill

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Kind says which of the contract's types a type is.
type Kind uint8

const (
	Boolean Kind = iota
	Integer      // 32 bits
	Long         // 64 bits
	Float
	Double
	Date      // days since 1970-01-01, in 32 bits
	Timestamp // microseconds since 1970-01-01 in UTC, in 64 bits
	DecimalKind
	String
	Binary
	StructKind
	Array
	Map
)

// Type is the type of a column, member or element.
type Type struct {
	Kind Kind
	// Of a decimal.
	Precision, Scale int
	// The members of a struct, the element of an array, key and value of a map.
	Fields []Field
}

// Field is a column or a member of a struct.
type Field struct {
	Name     string
	Type     Type
	Nullable bool
}

// depthMax is the deepest nesting of a type.
const depthMax = 64

var scalars = map[string]Kind{
	"boolean": Boolean, "bool": Boolean, "integer": Integer, "int": Integer, "long": Long,
	"bigint": Long, "float": Float, "real": Float, "double": Double, "date": Date,
	"timestamp": Timestamp, "string": String, "binary": Binary,
}

var names = [...]string{
	Boolean: "boolean", Integer: "integer", Long: "long", Float: "float", Double: "double",
	Date: "date", Timestamp: "timestamp", String: "string", Binary: "binary",
}

// valueBytes is the size of one value; 0 if it has none that is fixed.
func (kind Kind) valueBytes() int {
	switch kind {
	case Integer, Float, Date:
		return 4
	case Long, Double, Timestamp:
		return 8
	case DecimalKind:
		return 16
	}
	return 0
}

func (kind Kind) hasOffsets() bool {
	return kind == String || kind == Binary || kind == Array || kind == Map
}

// String is the type in SQL's words.
func (t Type) String() string {
	child := func(i int) string { return t.Fields[i].Type.String() }
	switch t.Kind {
	case DecimalKind:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case Array:
		return "array<" + child(0) + ">"
	case Map:
		return "map<" + child(0) + "," + child(1) + ">"
	case StructKind:
		members := make([]string, len(t.Fields))
		for i, field := range t.Fields {
			members[i] = field.Name + " " + child(i)
		}
		return "struct<" + strings.Join(members, ",") + ">"
	}
	return names[t.Kind]
}

// ParseType reads a type in SQL's words; nullable is false if "not null" stands behind it.
func ParseType(text string) (t Type, nullable bool, err error) {
	in := words{text: text}
	field, ok := in.field("", 0)
	if !ok || strings.TrimSpace(in.text) != "" {
		return Type{}, false, fmt.Errorf("there is no type `%s`", text)
	}
	return field.Type, field.Nullable, nil
}

// words is what is left of a type.
type words struct{ text string }

func (in *words) take(c byte) bool {
	in.text = strings.TrimLeft(in.text, " \t\n")
	if in.text == "" || in.text[0] != c {
		return false
	}
	in.text = in.text[1:]
	return true
}

func (in *words) word() string {
	in.text = strings.TrimLeft(in.text, " \t\n")
	end := strings.IndexAny(in.text, " \t\n,:()<>")
	if end < 0 {
		end = len(in.text)
	}
	word := in.text[:end]
	in.text = in.text[end:]
	return word
}

func (in *words) field(name string, depth int) (Field, bool) {
	t, ok := in.typ(depth)
	ahead := *in
	notNull := ahead.word() == "not" && ahead.word() == "null"
	if notNull {
		*in = ahead
	}
	return Field{Name: name, Type: t, Nullable: !notNull}, ok
}

func (in *words) typ(depth int) (Type, bool) {
	if depth > depthMax {
		return Type{}, false
	}
	word := in.word()
	switch word {
	case "decimal":
		return in.decimal()
	case "array":
		return in.nested(Array, depth, "element")
	case "map":
		return in.nested(Map, depth, "key", "value")
	case "struct":
		return in.nested(StructKind, depth)
	}
	kind, ok := scalars[word]
	return Type{Kind: kind}, ok
}

func (in *words) decimal() (Type, bool) {
	t := Type{Kind: DecimalKind, Precision: 10}
	if !in.take('(') {
		return t, true
	}
	var err, scaleErr error
	t.Precision, err = strconv.Atoi(in.word())
	if in.take(',') {
		t.Scale, scaleErr = strconv.Atoi(in.word())
	}
	good := err == nil && scaleErr == nil && t.Precision >= 1 && t.Precision <= 38
	return t, good && t.Scale >= 0 && t.Scale <= t.Precision && in.take(')')
}

// nested reads children of these names, or members with their own.
func (in *words) nested(kind Kind, depth int, fixed ...string) (Type, bool) {
	t := Type{Kind: kind}
	if !in.take('<') {
		return t, false
	}
	for i := 0; ; i++ {
		var name string
		if kind == StructKind {
			name = in.word()
			in.take(':')
		} else if i < len(fixed) {
			name = fixed[i]
		}
		field, ok := in.field(name, depth+1)
		if !ok || name == "" {
			return t, false
		}
		t.Fields = append(t.Fields, field)
		if !in.take(',') {
			break
		}
	}
	if kind == Map {
		t.Fields[0].Nullable = false
	}
	return t, in.take('>') && (kind == StructKind || len(t.Fields) == len(fixed))
}

// fits says whether values of one type are values of the other, whatever may be null in them.
func (t Type) fits(other Type) bool {
	if t.Kind != other.Kind || t.Precision != other.Precision || t.Scale != other.Scale ||
		len(t.Fields) != len(other.Fields) {
		return false
	}
	for i := range t.Fields {
		named := t.Kind != StructKind || t.Fields[i].Name == other.Fields[i].Name
		if !named || !t.Fields[i].Type.fits(other.Fields[i].Type) {
			return false
		}
	}
	return true
}

// fieldJSON is a field as describe.md has it.
type fieldJSON struct {
	Name     string          `json:"name"`
	Type     json.RawMessage `json:"type"`
	Nullable *bool           `json:"nullable,omitempty"`
}

type typeJSON struct {
	Type              string          `json:"type"`
	Fields            []Field         `json:"fields,omitempty"`
	ElementType       json.RawMessage `json:"elementType,omitempty"`
	KeyType           json.RawMessage `json:"keyType,omitempty"`
	ValueType         json.RawMessage `json:"valueType,omitempty"`
	ContainsNull      *bool           `json:"containsNull,omitempty"`
	ValueContainsNull *bool           `json:"valueContainsNull,omitempty"`
}

// UnmarshalJSON reads a field as describe.md has it.
func (f *Field) UnmarshalJSON(data []byte) error {
	var read fieldJSON
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	f.Name, f.Nullable = read.Name, read.Nullable == nil || *read.Nullable
	return f.Type.unmarshal(read.Type)
}

func (t *Type) unmarshal(data []byte) error {
	var name string
	if json.Unmarshal(data, &name) == nil {
		read, _, err := ParseType(name)
		*t = read
		return err
	}
	var read typeJSON
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	child := func(name string, data []byte, nullable *bool) error {
		field := Field{Name: name, Nullable: nullable == nil || *nullable}
		err := field.Type.unmarshal(data)
		t.Fields = append(t.Fields, field)
		return err
	}
	switch read.Type {
	case "array":
		*t = Type{Kind: Array}
		return child("element", read.ElementType, read.ContainsNull)
	case "map":
		*t = Type{Kind: Map}
		never := false
		if err := child("key", read.KeyType, &never); err != nil {
			return err
		}
		return child("value", read.ValueType, read.ValueContainsNull)
	case "struct":
		*t = Type{Kind: StructKind, Fields: read.Fields}
		return nil
	}
	return fmt.Errorf("there is no type `%s`", read.Type)
}

// MarshalJSON writes a field as describe.md has it.
func (f Field) MarshalJSON() ([]byte, error) {
	t, err := f.Type.marshal()
	if err != nil {
		return nil, err
	}
	return json.Marshal(fieldJSON{Name: f.Name, Type: t, Nullable: &f.Nullable})
}

func (t Type) marshal() (json.RawMessage, error) {
	var written typeJSON
	var err error
	switch t.Kind {
	case Array:
		written = typeJSON{Type: "array", ContainsNull: &t.Fields[0].Nullable}
		written.ElementType, err = t.Fields[0].Type.marshal()
	case Map:
		written = typeJSON{Type: "map", ValueContainsNull: &t.Fields[1].Nullable}
		written.KeyType, err = t.Fields[0].Type.marshal()
		if err == nil {
			written.ValueType, err = t.Fields[1].Type.marshal()
		}
	case StructKind:
		written = typeJSON{Type: "struct", Fields: t.Fields}
	default:
		return json.Marshal(t.String())
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(written)
}
