package gristmill

import (
	"errors"
	"fmt"
)

var errNoStage = errors.New("no stage is registered: call Rows or Columns in an init function")

// RowFunc makes output rows of one row. An error refuses the row with its text as the reason; what
// was kept of the row is taken back.
type RowFunc func(row Row, out *Output) error

// Batch are rows as columns, in the order of [Setup.Read].
type Batch struct {
	RowCount int
	columns  []Column
}

// Column is the column that [Setup.Read] answered this index for.
func (b *Batch) Column(index int) *Column { return &b.columns[index] }

// BatchFunc makes output rows of a batch. An error refuses the batch: the host finds the row that is
// to blame.
type BatchFunc func(batch *Batch, out *Output) error

// Rows registers the module's stage at the level of rows. Call it in an init function, once.
func Rows(name, version string, setup func(*Setup) RowFunc) {
	this = &stage{name: name, version: version}
	this.setup = func(s *Setup) { this.row = setup(s) }
}

// Columns registers the module's stage at the level of columns. Call it in an init function, once.
func Columns(name, version string, setup func(*Setup) BatchFunc) {
	this = &stage{name: name, version: version}
	this.setup = func(s *Setup) { this.batch = setup(s) }
}

type stage struct {
	name, version string
	setup         func(*Setup)
	row           RowFunc
	batch         BatchFunc

	described *Setup
	out       Output
	frame     []byte
}

// this is the module's stage.
var this *stage

func (s *stage) describe(request []byte) ([]byte, error) {
	setup, text, err := describe(request, s)
	if err != nil {
		return nil, err
	}
	s.described = setup
	s.out = Output{builders: make([]Builder, len(setup.makes)), columns: make([]Column, len(setup.makes))}
	for i := range setup.makes {
		s.out.builders[i] = newBuilder(&setup.makes[i].Type)
	}
	return text, nil
}

func (s *stage) process(frame []byte) ([]byte, error) {
	if s.described == nil {
		return nil, fmt.Errorf("process was called before describe")
	}
	rows, columns, err := readFrame(frame, s.described.reads)
	if err != nil {
		return nil, err
	}
	s.out.begin(rows)
	if s.row != nil {
		s.runRows(rows, columns)
	} else {
		s.out.mark = -1
		if err := s.batch(&Batch{rows, columns}, &s.out); err != nil {
			return nil, err
		}
	}
	s.out.end(s.row != nil)
	if err := s.check(); err != nil {
		return nil, err
	}
	s.frame = writeFrame(s.frame, &s.out, s.out.rowCount())
	return s.frame, nil
}

func (s *stage) runRows(rows int, columns []Column) {
	out := &s.out
	out.KeepNone()
	for index := range rows {
		out.row, out.mark = uint32(index), len(out.rows)
		if err := s.row(Row{columns, index}, out); err != nil {
			out.takeBack()
			out.Fail(index, err.Error())
		}
	}
}

// check finds columns that the stage left incomplete.
func (s *stage) check() error {
	for i, field := range s.described.makes {
		column := &s.out.columns[i]
		if column.length != s.out.rowCount() {
			return fmt.Errorf("the stage made %d values of column `%s` for %d rows", column.length, field.Name, s.out.rowCount())
		}
		if column.nulls > 0 && !field.Nullable {
			return fmt.Errorf("the stage left column `%s` null, which is `not null`", field.Name)
		}
	}
	return nil
}
