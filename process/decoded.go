package process

// Decoded is a mapping of records that are decoded before.
type Decoded struct {
	Decoder Decoder
	Mapper  Mapper
}

// Decoder makes of the bytes of a record those that a mapper reads; package codec/registry has one. It is safe for concurrent use. Its errors are those of a
// Mapper.
type Decoder interface {
	Decode(raw []byte) ([]byte, error)
	// Describe is a canonical text of what records are decoded to; see Mapper.
	Describe() string
}

// Describe names both.
func (m Decoded) Describe() string { return m.Decoder.Describe() + "\n" + m.Mapper.Describe() }

// Map maps what the record is decoded to.
func (m Decoded) Map(r Record) ([]Draft, error) {
	value, err := m.Decoder.Decode(r.Value)
	if err != nil {
		return nil, err
	}
	r.Value = value
	return m.Mapper.Map(r)
}
