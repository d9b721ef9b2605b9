package wire

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
)

// keyMark begins the key of an entity outside the default collection and namespace. No id
// begins with it, because ids have no control characters.
const keyMark = 0x00

// AppendKey appends the key of an entity in vector.sync: the bare entity id in the default
// collection and namespace, as foreign producers and consumers expect it; else a zero byte,
// then collection and namespace with their lengths, then the entity id.
func AppendKey(b []byte, k freshet.Key) []byte {
	if k.Collection != freshet.DefaultCollection || k.Namespace != freshet.DefaultNamespace {
		b = appendShard(b, k.Shard())
	}
	return append(b, k.Entity...)
}

func appendShard(b []byte, s freshet.Shard) []byte {
	b = append(b, keyMark)
	b = appendString(b, s.Collection)
	return appendString(b, s.Namespace)
}

// ParseKey is the inverse of AppendKey. It refuses what AppendKey does not write, so that no
// entity has two keys.
func ParseKey(b []byte) (freshet.Key, error) {
	if len(b) == 0 {
		return freshet.Key{}, errors.New("entity key is empty")
	}
	if b[0] != keyMark {
		return freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: string(b)}, nil
	}
	d := Decoder{rest: b[1:]}
	k := freshet.Key{Collection: d.String(), Namespace: d.String()}
	k.Entity = string(d.rest)
	var room [256]byte
	if d.bad || k.Collection == "" || k.Namespace == "" || k.Entity == "" || !bytes.Equal(AppendKey(room[:0], k), b) {
		return freshet.Key{}, fmt.Errorf("entity key %x is malformed", b)
	}
	return k, nil
}

// ShardRange returns the bounds [lower, upper) of the keys of one shard.
func ShardRange(s freshet.Shard) (lower, upper []byte) {
	if s.Collection == freshet.DefaultCollection && s.Namespace == freshet.DefaultNamespace {
		return []byte{keyMark + 1}, []byte{0xff}
	}
	lower = appendShard(nil, s)
	return lower, append(appendShard(nil, s), 0xff) // no UTF-8 text begins with 0xff
}

// CollectionRanges returns the bounds [lower, upper) of the keys of one collection: all of its namespaces.
func CollectionRanges(collection string) [][2][]byte {
	lower := appendString([]byte{keyMark}, collection)
	upper := bytes.Clone(lower)
	upper[len(upper)-1]++ // UTF-8 has no 0xff; the length of the namespace behind it may begin with one
	ranges := [][2][]byte{{lower, upper}}
	if collection == freshet.DefaultCollection {
		lower, upper := ShardRange(freshet.Shard{Collection: collection, Namespace: freshet.DefaultNamespace})
		ranges = append(ranges, [2][]byte{lower, upper})
	}
	return ranges
}

// Partition is freshet's own choice of the partition of an entity, of n.
func Partition(k freshet.Key, n int) int32 {
	var buf [256]byte
	return int32(xxh3.Hash(AppendKey(buf[:0], k)) % uint64(n))
}

// AppendVersion appends the 20 bytes of a version; their order is that of versions.
func AppendVersion(b []byte, v freshet.Version) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(v.Order))
	b = binary.BigEndian.AppendUint32(b, v.Epoch)
	return binary.BigEndian.AppendUint64(b, uint64(v.Offset))
}

const versionBytes = 20

func parseVersion(b []byte) freshet.Version {
	return freshet.Version{
		Order:  int64(binary.BigEndian.Uint64(b)),
		Epoch:  binary.BigEndian.Uint32(b[8:]),
		Offset: int64(binary.BigEndian.Uint64(b[12:])),
	}
}

var sortable = base32.HexEncoding.WithPadding(base32.NoPadding)

// VersionString is the opaque form of a version that users see; as strings they sort as
// versions do.
func VersionString(v freshet.Version) string {
	var b [versionBytes]byte
	return sortable.EncodeToString(AppendVersion(b[:0], v))
}

// DropRanges returns the bounds [lower, upper) of the keys of a shard, or with an empty namespace of all of a collection.
func DropRanges(s freshet.Shard) (ranges [][2][]byte) {
	if s.Namespace != "" {
		lower, upper := ShardRange(s)
		return [][2][]byte{{lower, upper}}
	}
	if s.Collection == freshet.DefaultCollection {
		lower, upper := ShardRange(freshet.Shard{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace})
		ranges = append(ranges, [2][]byte{lower, upper})
	}
	lower := appendString([]byte{keyMark}, s.Collection)
	upper := bytes.Clone(lower)
	upper[len(upper)-1]++ // the last byte of a name is below 0xff
	return append(ranges, [2][]byte{lower, upper})
}

// AppendDrop appends the key that tells in vector.sync that a shard was dropped, or with an empty namespace a collection: that
// of an entity without an id.
func AppendDrop(b []byte, s freshet.Shard) []byte { return appendShard(b, s) }

// ParseDrop is the inverse of AppendDrop; ok is false for the key of an entity.
func ParseDrop(b []byte) (s freshet.Shard, ok bool) {
	if len(b) == 0 || b[0] != keyMark {
		return s, false
	}
	d := Decoder{rest: b[1:]}
	s = freshet.Shard{Collection: d.String(), Namespace: d.String()}
	return s, !d.bad && len(d.rest) == 0 && s.Collection != ""
}
