package ann

import (
	"encoding/binary"
	"errors"
	"math"
	"unsafe"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// vectors holds the vector of every slot in the form that Options.Precision and Options.Kind ask for. All forms are read
// as float32: where a vector lies in memory as such it is used in place, else it is decoded into memory of the caller.
// So scores, exact scans and audits need to know nothing about forms, and mean the same in all of them.
type vectors struct {
	precision Precision
	dim       int
	padded    int  // components of a vector that kernels read
	scaled    bool // halves have a scale each
	kernel    *kernel.Set
	memory    slab        // of [padded]float32, or of [padded]uint16 and the scale as a float32; empty for codes and files
	file      *vectorFile // of [dim]float32; nil when vectors are in memory
	records   kernel.Records
}

func (v *vectors) init(opt Options, set *kernel.Set, records kernel.Records) {
	v.precision, v.dim, v.padded = opt.Precision, opt.Dim, kernel.Pad(opt.Dim)
	v.scaled, v.kernel, v.records = opt.Metric != Cosine, set, records
	switch opt.Precision {
	case Float32:
		v.memory.Stride = uintptr(v.padded) * 4
	case Float16:
		v.memory.Stride = uintptr(v.padded) * 2
		if v.scaled {
			v.memory.Stride += 4
		}
	}
}

// scratch returns memory for read and write.
func (v *vectors) scratch() []float32 { return make([]float32, v.padded) }

// grow makes slot usable.
func (v *vectors) grow(slot uint32) {
	if v.inMemory() {
		v.memory.grow(slot)
	}
}

// inMemory reports whether there are vectors in memory besides the codes.
func (v *vectors) inMemory() bool { return v.precision != Int8 && v.file == nil }

// read returns the stored vector of slot, padded: in place, or decoded into scratch, which must be as long. It may be
// called while the slot is visible to a pinned reader, or is linked in the graph that a pinned reader walks. Only a file
// makes errors.
func (v *vectors) read(slot uint32, scratch []float32) ([]float32, error) {
	switch {
	case v.file != nil:
		return scratch, v.file.read(slot, scratch)
	case v.precision == Float32:
		return v.floats(slot), nil
	case v.precision == Float16:
		v.kernel.Halves(scratch, v.halves(slot), v.scale(slot))
	default:
		v.kernel.Decode(scratch, v.records.At(slot), v.dim)
	}
	return scratch, nil
}

// fetch asks for the memory of the vector of slot, without waiting for it.
func (v *vectors) fetch(slot uint32) {
	if v.inMemory() {
		v.kernel.Fetch(v.memory.at(slot), int(v.memory.Stride))
	}
}

// write stores x, padded and prepared, in slot, which nobody can see, and sets x to what read will return. Under Int8,
// where the codes are the vector, it does nothing.
func (v *vectors) write(slot uint32, x []float32) error {
	switch {
	case v.file != nil:
		return v.file.write(slot, x)
	case v.precision == Float32:
		copy(v.floats(slot), x)
	case v.precision == Float16:
		if v.scaled {
			v.setScale(slot, kernel.HalfScale(x))
		}
		kernel.EncodeHalves(v.halves(slot), x, v.scale(slot))
		v.kernel.Halves(x, v.halves(slot), v.scale(slot))
	}
	return nil
}

func (v *vectors) floats(slot uint32) []float32 {
	return unsafe.Slice((*float32)(v.memory.at(slot)), v.padded)
}

func (v *vectors) halves(slot uint32) []uint16 {
	return unsafe.Slice((*uint16)(v.memory.at(slot)), v.padded)
}

// scale returns what the halves of slot are multiplied by.
func (v *vectors) scale(slot uint32) float32 {
	if !v.scaled {
		return 1 // under cosine: components are at most 1
	}
	return *(*float32)(unsafe.Add(v.memory.at(slot), 2*v.padded))
}

func (v *vectors) setScale(slot uint32, scale float32) {
	*(*float32)(unsafe.Add(v.memory.at(slot), 2*v.padded)) = scale
}

// round sets x, padded and prepared, to what read returns once it is written.
func (v *vectors) round(x []float32) {
	switch v.precision {
	case Float16:
		halves, scale := make([]uint16, len(x)), float32(1)
		if v.scaled {
			scale = kernel.HalfScale(x)
		}
		kernel.EncodeHalves(halves, x, scale)
		v.kernel.Halves(x, halves, scale)
	case Int8:
		record := kernel.NewRecord(v.dim)
		record.Encode(x[:v.dim])
		v.kernel.Decode(x, record, v.dim)
	}
}

// storedSize returns the bytes of a vector in a snapshot of this precision.
func storedSize(p Precision, m Metric, dim int) int {
	switch {
	case p == Int8:
		return kernel.StoredSize(dim)
	case p == Float16 && m == Cosine:
		return 2 * dim
	case p == Float16:
		return 4 + 2*dim
	}
	return 4 * dim
}

// appendStored appends the vector of slot as snapshots have it: float32 numbers; or a scale, unless the metric is cosine,
// and halves; or a record of codes. All are little-endian. A vector that is restored from it has the same bits.
func (v *vectors) appendStored(dst []byte, slot uint32, scratch []float32) ([]byte, error) {
	switch v.precision {
	case Int8:
		return v.records.At(slot).AppendStored(dst, v.dim), nil
	case Float16:
		if v.scaled {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v.scale(slot)))
		}
		for _, h := range v.halves(slot)[:v.dim] {
			dst = binary.LittleEndian.AppendUint16(dst, h)
		}
		return dst, nil
	}
	x, err := v.read(slot, scratch)
	if err != nil {
		return dst, err
	}
	for _, c := range x[:v.dim] {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(c))
	}
	return dst, nil
}

var errBadCodes = errors.New("its codes are none that can be written")

// restoreStored is the reverse of appendStored for Float16 and Int8. It sets scratch to what read will return.
func (v *vectors) restoreStored(slot uint32, src []byte, scratch []float32) error {
	if v.precision == Int8 {
		if !v.records.At(slot).SetStored(src) {
			return errBadCodes
		}
	} else {
		if v.scaled {
			v.setScale(slot, math.Float32frombits(binary.LittleEndian.Uint32(src)))
			src = src[4:]
		}
		halves := v.halves(slot)
		clear(halves[v.dim:])
		for i := range halves[:v.dim] {
			halves[i] = binary.LittleEndian.Uint16(src[2*i:])
		}
	}
	_, err := v.read(slot, scratch)
	return err
}

// floatsOf sets the first components of dst to the float32 numbers of src, little-endian.
func floatsOf(dst []float32, src []byte) {
	n := len(src) / 4
	if littleEndian {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst[:n]))), 4*n), src)
		return
	}
	for i := range n {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// littleEndian reports whether this machine keeps numbers as snapshots do.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
