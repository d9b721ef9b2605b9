package codec_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// readCSV returns the events and refusals of a text, in order.
func readCSV(t *testing.T, r io.Reader, o codec.CSVOptions) (got []string) {
	t.Helper()
	if o.MaxRecord == 0 {
		o.MaxRecord = 1 << 20
	}
	c := codec.NewCSV(r, o)
	for {
		event, err := c.Next()
		var e *freshet.Error
		switch {
		case err == io.EOF:
			return got
		case errors.As(err, &e):
			got = append(got, fmt.Sprintf("%s %s at %d", e.Code, e.Field, c.Line()))
			if !strings.Contains(e.Message, fmt.Sprintf("line %d", c.Line())) {
				t.Errorf("%q names no line", e.Message)
			}
		case err != nil:
			return append(got, err.Error())
		default:
			got = append(got, string(event))
		}
	}
}

func TestCSV(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"fields and payload", "entity_id,text,price,event_id,op,timestamp,order,collection,namespace,vector\n" +
			"a,red,1.50,e1,upsert,1700000000000,7,c,n,\"[1,2]\"\n",
			`{"entity_id":"a","event_id":"e1","op":"upsert","timestamp":1700000000000,"order":7,"collection":"c","namespace":"n","vector":[1,2],"payload":{"text":"red","price":1.50}}`},
		{"an absent field, a deletion", "entity_id,op,text\na,delete,\n", `{"entity_id":"a","op":"delete"}`},
		{"ids and text stay strings", "entity_id,event_id,text\n7,8,9\n", `{"entity_id":"7","event_id":"8","payload":{"text":"9"}}`},
		{"what looks like a number", "entity_id,a,b,c,d,e,f,g\nx,007,1e5,+1,123456789012345,1234567890123456,-0.5,.5\n",
			`{"entity_id":"x","payload":{"a":"007","b":"1e5","c":"+1","d":123456789012345,"e":"1234567890123456","f":-0.5,"g":".5"}}`},
		{"booleans, words, spaces", "entity_id,a,b,c,d\nx,true,True,null, 5\n", `{"entity_id":"x","payload":{"a":true,"b":"True","c":"null","d":" 5"}}`},
		{"quotes make a string", "entity_id,a,b,c\nx,\"5\",\"\",\n", `{"entity_id":"x","payload":{"a":"5","b":""}}`},
		{"kinds of columns", "entity_id,a:string,b:number,c:boolean,d:json,dc:title\nx,5,\"1e9\",\"true\",\"{\"\"k\"\":[1]}\",t\n",
			`{"entity_id":"x","payload":{"a":"5","b":1e9,"c":true,"d":{"k":[1]},"dc:title":"t"}}`},
		{"line breaks, quotes, separators, both line ends", "\"entity_id\",text\r\nx,\"a\r\nb, \"\"c\"\"\"\r\n\r\ny,z", `{"entity_id":"x","payload":{"text":"a\r\nb, \"c\""}} {"entity_id":"y","payload":{"text":"z"}}`},
		{"a byte order mark", "\xef\xbb\xbf\"entity_id\",text\nx,é\n", `{"entity_id":"x","payload":{"text":"é"}}`},
		{"semicolons", "entity_id;\"a,b\"\nx;1,5\n", `{"entity_id":"x","payload":{"a,b":"1,5"}}`},
		{"tabs", "entity_id\ttext\nx\t\n", `{"entity_id":"x"}`},
		{"one column", "entity_id\nx\n\n\"\"\n", `{"entity_id":"x"} {"entity_id":""}`},
		{"times", "entity_id,timestamp\nx,2026-01-02T03:04:05.678+01:00\nx,007\nx,now\n", `{"entity_id":"x","timestamp":1767319445678} {"entity_id":"x","timestamp":7} {"entity_id":"x","timestamp":"now"}`},
		{"nothing", "", ""},
		{"a header alone", "entity_id,text", ""},
		{"bad records between good ones", "entity_id,text\na,1,2\nb\nc,5\" wide\nd,\"x\"y\ne,\"x\"\ry\nf,\xff\ng,\"ok\"\nh,\"open\ni,j\n",
			`invalid_field csv at 2 invalid_field csv at 3 invalid_field csv at 4 invalid_field csv at 5 invalid_field csv at 6 invalid_utf8  at 7 {"entity_id":"g","payload":{"text":"ok"}} invalid_field csv at 9`},
		{"bad kinds", "entity_id,n:number,b:boolean,j:json\na,1x,,\na,,yes,\na,,,{\n", `invalid_field n at 2 invalid_field b at 3 invalid_field j at 4`},
		{"no entity", "id,text\n1,a\n", `missing_field entity_id at 1`},
		{"no name", "entity_id,,a\nx,1,2\n", `invalid_field header at 1`},
		{"a name twice", "entity_id,a,a:number\nx,1,2\n", `invalid_field header at 1`},
		{"a payload", "entity_id,payload\nx,{}\n", `invalid_field header at 1`},
		{"a broken header", "entity_id,\"a\"b\nx,1\n", `invalid_field csv at 1`},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "in bytes": iotest.OneByteReader(strings.NewReader(c.in))} {
			if got := strings.Join(readCSV(t, r, codec.CSVOptions{}), " "); got != c.want {
				t.Errorf("%s, %s:\n got %s\nwant %s", c.name, name, got, c.want)
			}
		}
	}
}

// Under a configured mapping a record is a flat object.
func TestFlatCSV(t *testing.T) {
	got := readCSV(t, strings.NewReader("id,payload,timestamp,order\n1,{},now,2\n"), codec.CSVOptions{Flat: true})
	if want := `{"id":1,"payload":"{}","timestamp":"now","order":2}`; fmt.Sprint(got) != "["+want+"]" {
		t.Errorf("%s, want %s", got, want)
	}
}

// A record over the limit is refused alone, whether a line break in its quotes or not; the one behind it keeps its line.
func TestLongRecords(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	in := "entity_id,text\na," + long + "\nb,\"" + long + "\n,\"\"q\n" + long + "\"\nc,d\n" + strings.Repeat("y", 300<<10)
	want := []string{"too_large  at 2", "too_large  at 3", `{"entity_id":"c","payload":{"text":"d"}}`, "too_large  at 7"}
	for most, want := range map[int][]string{40: want, 200 << 10: want} {
		if got := readCSV(t, strings.NewReader(in), codec.CSVOptions{MaxRecord: most}); !reflect.DeepEqual(got, want) {
			t.Errorf("at most %d: %.200s", most, got)
		}
	}
	if got := readCSV(t, strings.NewReader(in), codec.CSVOptions{MaxRecord: 1 << 20}); len(got) != 4 || got[0] != `{"entity_id":"a","payload":{"text":"`+long+`"}}` {
		t.Errorf("with room: %d, %.200s", len(got), got)
	}
}

// The places of records cut the input into the records without a gap.
func TestPlacesOfRecords(t *testing.T) {
	in := "\xef\xbb\xbfentity_id,text\n\na,\"1\n2\"\r\n\"x\"y\nb,3"
	c := codec.NewCSV(strings.NewReader(in), codec.CSVOptions{MaxRecord: 100})
	at := int64(strings.Index(in, "\n") + 2)
	for _, line := range []int64{3, 5, 6} {
		_, err := c.Next()
		if err == io.EOF {
			t.Fatal("too few records")
		}
		part := in[at:c.Offset()]
		if at = c.Offset(); strings.TrimRight(part, "\r\n") != string(c.Raw()) || c.Line() != line {
			t.Errorf("line %d, want %d: %q is %q", c.Line(), line, c.Raw(), part)
		}
	}
	if _, err := c.Next(); err != io.EOF || at != int64(len(in)) {
		t.Errorf("%d of %d bytes, then %v", at, len(in), err)
	}
}

func TestCSVReportsReadErrors(t *testing.T) {
	broken := errors.New("broken")
	got := readCSV(t, io.MultiReader(strings.NewReader("entity_id\na\nhalf"), iotest.ErrReader(broken)), codec.CSVOptions{})
	if fmt.Sprint(got) != `[{"entity_id":"a"} broken]` {
		t.Error(got)
	}
}

// FuzzCSV holds the reader against encoding/csv where that accepts a text: the same cells. Whatever comes, an event is JSON, and
// how the input is cut into reads makes no difference.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"entity_id,text\na,b\n", "entity_id;a:json\nx;\"[1,\n2]\"\r\n", "a\tb\n\"1\"\"\"\t2\n\n3\t4", "\xef\xbb\xbfentity_id\n\"x\n", "a,b\n1,2,3\n\"x\"y,1\n", "entity_id,timestamp,order:number\na,1,2\n"} {
		f.Add(s, true, 20)
		f.Add(s, false, 1000)
	}
	f.Fuzz(func(t *testing.T, in string, flat bool, most int) {
		o := codec.CSVOptions{Flat: flat, MaxRecord: 1 + max(most, -most)%4096}
		if o.MaxRecord <= 0 {
			o.MaxRecord = 1
		}
		whole := readCSV(t, strings.NewReader(in), o)
		if parts := readCSV(t, iotest.OneByteReader(strings.NewReader(in)), o); !reflect.DeepEqual(whole, parts) {
			t.Fatalf("%q: %q whole, %q in parts", in, whole, parts)
		}
		for _, event := range whole {
			if strings.HasPrefix(event, "{") && !json.Valid([]byte(event)) {
				t.Fatalf("%q gives %s", in, event)
			}
		}
		rows := stdRows(in)
		if len(rows) < 2 || strings.ContainsAny(in, ";\t\r:") || strings.HasPrefix(in, "\xef") || !flat || o.MaxRecord < len(in) {
			return
		}
		for c := codec.NewCSV(strings.NewReader(in), o); ; {
			event, err := c.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				continue
			}
			var members map[string]any
			if err := json.Unmarshal(event, &members); err != nil {
				t.Fatalf("%q gives %s: %v", in, event, err)
			}
			row := rows[c.Line()]
			for k, name := range rows[0] {
				if v, is := members[strings.TrimSpace(name)].(string); is && (k >= len(row) || v != row[k]) {
					t.Fatalf("%q: line %d is %s here, %q there", in, c.Line(), event, row)
				}
			}
		}
	})
}

// stdRows are the records that encoding/csv reads by the line on which they begin, and the header as that of line 0; nil if it
// refuses one.
func stdRows(in string) map[int64][]string {
	std := csv.NewReader(strings.NewReader(in))
	std.FieldsPerRecord = -1
	rows := map[int64][]string{}
	for {
		row, err := std.Read()
		switch {
		case err == io.EOF:
			return rows
		case err != nil:
			return nil
		}
		line, _ := std.FieldPos(0)
		if rows[int64(line)] = row; rows[0] == nil {
			rows[0] = row
		}
	}
}
