package gristmill

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Setup is what the describing function asks and answers. After the first mistake (a missing key,
// an unknown column) the rest is of no interest: the mistake goes to the author of the pipeline.
type Setup struct {
	// Input are the columns that arrive.
	Input []Field

	config       map[string]json.RawMessage
	configRead   bool
	reads        []Field
	makes        []Field
	drops        []string
	configSchema json.RawMessage
	err          error
}

// Config reads the stage's configuration into a struct, by the names of its json tags. Keys without
// `omitempty` must be there; keys that the struct does not have are refused.
func (s *Setup) Config(config any) {
	s.configRead = true
	known := map[string]bool{}
	schema := configSchema{Type: "object", Properties: map[string]keySchema{}, Required: []string{}}
	target := reflect.ValueOf(config).Elem()
	for i := range target.NumField() {
		name, options, _ := strings.Cut(target.Type().Field(i).Tag.Get("json"), ",")
		if name == "" {
			name = target.Type().Field(i).Name
		}
		known[name] = true
		schema.add(name, target.Field(i).Kind(), options != "omitempty")
		value, given := s.config[name]
		if !given {
			if options != "omitempty" {
				s.RefuseKey(name, "this key is required")
			}
			continue
		}
		if err := json.Unmarshal(value, target.Field(i).Addr().Interface()); err != nil {
			s.RefuseKey(name, explained(err))
		}
	}
	s.refuseUnknown(known)
	if s.configSchema == nil {
		s.configSchema, _ = json.Marshal(schema)
	}
}

// configSchema is the JSON Schema of a configuration, for editors and for `gristmill stage inspect`.
type configSchema struct {
	Type                 string               `json:"type"`
	Properties           map[string]keySchema `json:"properties"`
	Required             []string             `json:"required"`
	AdditionalProperties bool                 `json:"additionalProperties"`
}

type keySchema struct {
	Type string `json:"type,omitempty"`
}

func (c *configSchema) add(name string, kind reflect.Kind, required bool) {
	c.Properties[name] = keySchema{schemaType(kind)}
	if required {
		c.Required = append(c.Required, name)
	}
}

// schemaType is JSON Schema's word for a kind; empty: any.
func schemaType(kind reflect.Kind) string {
	switch {
	case kind == reflect.String:
		return "string"
	case kind == reflect.Bool:
		return "boolean"
	case kind >= reflect.Int && kind <= reflect.Uint64:
		return "integer"
	case kind == reflect.Float32 || kind == reflect.Float64:
		return "number"
	case kind == reflect.Slice || kind == reflect.Array:
		return "array"
	case kind == reflect.Map || kind == reflect.Struct:
		return "object"
	default:
		return ""
	}
}

func explained(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("expected %s, this is a %s", wrong.Type, wrong.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func (s *Setup) refuseUnknown(known map[string]bool) {
	for _, key := range slices.Sorted(maps.Keys(s.config)) {
		if !known[key] {
			s.RefuseKey(key, "unknown key")
		}
	}
}

// ConfigSchema is the JSON Schema of the configuration, for editors, in place of the one that Config makes.
func (s *Setup) ConfigSchema(schema string) { s.configSchema = json.RawMessage(schema) }

// Read reads an input column, which must be of this type ("": of any), and answers its index among
// the columns that are read.
func (s *Setup) Read(column, typeText string) int {
	for _, field := range s.Input {
		if field.Name != column {
			continue
		}
		if typeText != "" {
			if t, _ := s.parsed(column, typeText); s.err == nil && !t.fits(field.Type) {
				s.Refuse("the stage reads column `%s` as %v, and it is %v", column, t, field.Type)
			}
		}
		s.reads = append(s.reads, field)
		return len(s.reads) - 1
	}
	s.Refuse("the stage reads `%s`, and there is no such column", column)
	return 0
}

// Make makes a column; one named as an input column replaces it. Answers its index among those made.
func (s *Setup) Make(column, typeText string) int {
	t, nullable := s.parsed(column, typeText)
	return s.MakeField(Field{Name: column, Type: t, Nullable: nullable})
}

// MakeField makes a column.
func (s *Setup) MakeField(field Field) int {
	s.makes = append(s.makes, field)
	return len(s.makes) - 1
}

// Drop ends an input column at this stage.
func (s *Setup) Drop(column string) { s.drops = append(s.drops, column) }

// Refuse refuses the configuration or the input: one line, lower case, no full stop.
func (s *Setup) Refuse(format string, arguments ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, arguments...)
	}
}

// RefuseKey refuses a key of the configuration; the host points at it in the pipeline file.
func (s *Setup) RefuseKey(key, why string) { s.Refuse("config.%s: %s", key, why) }

func (s *Setup) parsed(column, typeText string) (Type, bool) {
	t, nullable, err := ParseType(typeText)
	if err != nil {
		s.Refuse("column `%s` of the stage: %w", column, err)
	}
	return t, nullable
}

// answer is the answer of describe.md.
type answer struct {
	Contract     string          `json:"contract"`
	Name         string          `json:"name"`
	Version      string          `json:"version"`
	Encoding     string          `json:"encoding"`
	Reads        []string        `json:"reads,omitempty"`
	Columns      []Field         `json:"columns,omitempty"`
	Drops        []string        `json:"drops,omitempty"`
	ConfigSchema json.RawMessage `json:"config_schema,omitempty"`
}

// describe runs the describing function over a request.
func describe(request []byte, stage *stage) (*Setup, []byte, error) {
	var read struct {
		Contract string                     `json:"contract"`
		Config   map[string]json.RawMessage `json:"config"`
		Input    []Field                    `json:"input"`
	}
	if err := json.Unmarshal(request, &read); err != nil {
		return nil, nil, fmt.Errorf("the request of describe is malformed: %w", err)
	}
	if !strings.HasPrefix(read.Contract, "1.") {
		return nil, nil, fmt.Errorf("the host speaks contract %s, this module 1.0", read.Contract)
	}
	setup := &Setup{Input: read.Input, config: read.Config}
	stage.setup(setup)
	if !setup.configRead {
		setup.refuseUnknown(nil)
	}
	if setup.err != nil {
		return nil, nil, setup.err
	}
	text, err := json.Marshal(answer{
		Contract: "1.0", Name: stage.name, Version: stage.version, Encoding: "frame",
		Reads: fieldNames(setup.reads), Columns: setup.makes, Drops: setup.drops, ConfigSchema: setup.configSchema,
	})
	return setup, text, err
}

func fieldNames(fields []Field) (names []string) {
	for _, field := range fields {
		names = append(names, field.Name)
	}
	return names
}
