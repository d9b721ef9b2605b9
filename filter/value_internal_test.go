package filter

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestNumberKeys compares the order of keys with that of exact fractions.
func TestNumberKeys(t *testing.T) {
	lits := []string{"0", "-0", "0.000", "0e5", "1", "1.0", "100e-2", "-1", "-1.0", "9", "10", "11", "12", "120", "123", "-12", "-123", "-120",
		"0.1", "0.01", "0.10", "0.012", "1e48", "1e47", "1e49", "9e47", "9e48", "1e-48", "1e-49", "1e-50", "9.9e-50", "-1e48", "-1e49", "-1e-49", "-1e-50",
		"9007199254740992", "9007199254740993", "18446744073709551616", "1.00000000000000000001", "1e300", "-1e300", "1e-300", "5e2", "50e1", "0.5e3"}
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		digit := func(n int) string {
			b := make([]byte, 1+r.IntN(n))
			for i := range b {
				b[i] = "0012345678999"[r.IntN(13)]
			}
			return string(b)
		}
		s := strings.TrimLeft(digit(9), "0")
		if s == "" {
			s = "0"
		}
		if r.IntN(2) == 0 {
			s += "." + digit(9)
		}
		if r.IntN(3) == 0 {
			s += []string{"e", "E+", "e-"}[r.IntN(3)] + digit(2)
		}
		lits = append(lits, []string{"", "-"}[r.IntN(2)]+s)
	}
	keys, values := make([][]byte, len(lits)), make([]*big.Rat, len(lits))
	for i, s := range lits {
		key, ok := appendNumberKey([]byte("before"), []byte(s))
		if !ok {
			t.Fatalf("%s is refused", s)
		}
		keys[i] = bytes.TrimPrefix(key, []byte("before"))
		values[i], _ = new(big.Rat).SetString(s)
		back, _ := new(big.Rat).SetString(formatNumber(string(keys[i])))
		if back.Cmp(values[i]) != 0 {
			t.Errorf("%s is formatted as %s", s, formatNumber(string(keys[i])))
		}
	}
	for i := range lits {
		for j := range lits {
			if got, want := bytes.Compare(keys[i], keys[j]), values[i].Cmp(values[j]); got != want {
				t.Fatalf("%s against %s: keys %x and %x give %d, want %d", lits[i], lits[j], keys[i], keys[j], got, want)
			}
		}
	}
}

func TestNumberLimits(t *testing.T) {
	for _, c := range []struct {
		lit string
		ok  bool
	}{
		{strings.Repeat("9", MaxNumberDigits), true},
		{strings.Repeat("9", MaxNumberDigits+1), false},
		{"9" + strings.Repeat("0", MaxNumberDigits) + ".000", true},
		{"0." + strings.Repeat("0", 9000) + strings.Repeat("9", MaxNumberDigits), true},
		{"0.9e1000000", true}, {"1e1000000", false}, {"1e999999", true}, {"-1e1000000", false},
		{"1e-1000000", true}, {"1e-1000001", false}, {"0.1e-1000000", false},
		{"1e99999999999999999999999", false}, {"1e-99999999999999999999999", false},
		{"1" + strings.Repeat("0", 2_000_000) + "e-2000000", true},
	} {
		if key, ok := appendNumberKey(nil, []byte(c.lit)); ok != c.ok || !ok && len(key) > 0 {
			t.Errorf("%.30s: accepted %v with %d bytes, want %v", c.lit, ok, len(key), c.ok)
		}
	}
}

// strictRFC3339 is what time.Parse alone is too lenient about.
var strictRFC3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func checkInstant(t *testing.T, s string) {
	t.Helper()
	want, err := time.Parse(time.RFC3339Nano, s)
	wantOK := err == nil && strictRFC3339.MatchString(s)
	got, ok := parseInstant([]byte(s))
	if ok != wantOK {
		t.Fatalf("%q: accepted %v, want %v", s, ok, wantOK)
	}
	if ok && (got.sec+instantEpoch != want.Unix() || int(got.nsec) != want.Nanosecond() || got.sec < 0) {
		t.Fatalf("%q: got %d s %d ns, want %d s %d ns", s, got.sec+instantEpoch, got.nsec, want.Unix(), want.Nanosecond())
	}
}

var instants = []string{
	"2026-01-31T00:00:00Z", "2026-01-31T00:00:00.5Z", "2026-01-31T23:59:59.999999999+23:59", "0000-01-01T00:00:00+23:59",
	"9999-12-31T23:59:59.999999999-23:59", "2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z", "1900-02-29T12:00:00Z", "2000-02-29T12:00:00Z",
	"0000-02-29T12:00:00Z", "2026-01-31", "2026-01-31T00:00:00", "2026-01-31T00:00:60Z", "2026-01-31T24:00:00Z", "2026-13-01T00:00:00Z",
	"2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-31t00:00:00z", "2026-01-31 00:00:00Z",
	"2026-01-31T00:00:00,5Z", "2026-01-31T00:00:00.Z", "2026-01-31T00:00:00.1234567891234Z", "2026-01-31T00:00:00+24:00",
	"2026-01-31T00:00:00+00:60", "2026-01-31T00:00:00+0000", "2026-01-31T0:00:00.0Z", "2026-01-31T00:00:00.123", "", "2026-01-31T00:00:00.",
	"2026-01-31T00:00:00Zx", "+026-01-31T00:00:00Z", "2026-1-31T00:00:000Z",
}

func TestInstants(t *testing.T) {
	for _, s := range instants {
		checkInstant(t, s)
	}
	// Every third day from year 0 on, at an hour that wanders.
	for at := time.Date(0, 1, 1, 0, 0, 0, 7, time.UTC); at.Year() < 10_000; at = at.Add(73*time.Hour + time.Second) {
		got, ok := parseInstant([]byte(at.Format("2006-01-02T15:04:05.999999999Z07:00")))
		if !ok || got.sec+instantEpoch != at.Unix() {
			t.Fatalf("%v: got %v, %v", at, got, ok)
		}
	}
}

func TestInstantOrder(t *testing.T) {
	list := []string{"0000-01-01T00:00:00+23:59", "1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000001Z",
		"1970-01-01T00:00:00.999999999Z", "1970-01-01T00:00:01Z", "9999-12-31T23:59:59.999999999-23:59"}
	for i := 1; i < len(list); i++ {
		a, _ := parseInstant([]byte(list[i-1]))
		b, ok := parseInstant([]byte(list[i]))
		if !ok || a.compare(b) != -1 || b.compare(a) != 1 || a.compare(a) != 0 || a.head() > b.head() {
			t.Errorf("%s is not before %s", list[i-1], list[i])
		}
		if a.next().compare(b) > 0 || a.next().compare(a) != 1 {
			t.Errorf("next of %s is %v", list[i-1], a.next())
		}
	}
}

func FuzzInstant(f *testing.F) {
	for _, s := range instants {
		f.Add(s)
	}
	f.Fuzz(checkInstant)
}
