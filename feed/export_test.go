package feed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/feed"
)

// odd matches entities whose metadata says so.
type odd struct{}

func (odd) Match(metadata []byte) (bool, error) { return len(metadata)%2 == 1, nil }
func (odd) String() string                      { return "odd" }

func (b *bench) exported(r feed.ExportRequest, each func()) (got []string, token freshet.Token) {
	b.Helper()
	token, err := b.feed.Export(context.Background(), r, func(run []freshet.Change) error {
		for i := range run {
			c := &run[i]
			if len(c.Points) != 1 || c.Key.Collection != r.Collection {
				b.Errorf("%+v is exported", c)
			}
			got = append(got, c.Key.Namespace+"/"+c.Key.Entity+"="+c.Text)
		}
		each()
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return got, token
}

// An export is one instant: what is written meanwhile is not in it, and is all that its token leaves to be told.
func TestExport(t *testing.T) {
	b := newBench(t)
	const entities = 1000 // several runs
	long := strings.Repeat("n", 255)
	var want []string
	for i := range entities {
		for _, ns := range []string{"default", "n", long} {
			for _, collection := range []string{"default", "defaul", "default2", "c"} {
				b.put("one", in(collection, ns, fmt.Sprint("e", i)))
			}
			want = append(want, fmt.Sprintf("%s/e%d=one", ns, i))
		}
	}
	b.put("", in("default", "n", "gone"), in("default", "default", "gone"))
	slices.Sort(want)
	runs := 0
	got, token := b.exported(feed.ExportRequest{Collection: "default"}, func() {
		if runs++; runs == 1 {
			b.put("two", in("default", "default", "e999"), in("default", "default", "new"))
			b.put("", in("default", "n", "e5"))
		}
	})
	slices.Sort(got)
	if !slices.Equal(got, want) || runs < 3 {
		t.Errorf("%d entities in %d runs, want %d", len(got), runs, len(want))
	}
	rest, _ := b.all(feed.Request{Collection: "default", After: token})
	if fmt.Sprint(rest) != "[e999=two new=two e5=]" {
		t.Errorf("behind the token there is %v", rest)
	}
	for _, ns := range []string{"default", "n", long} {
		if got, _ := b.exported(feed.ExportRequest{Collection: "c", Namespace: ns}, func() {}); len(got) != entities || !strings.HasPrefix(got[0], ns+"/") {
			t.Errorf("%s: %d entities", ns, len(got))
		}
	}
	if got, _ := b.exported(feed.ExportRequest{Collection: "c", Filter: odd{}}, func() {}); len(got) != 0 {
		t.Errorf("%d entities match", len(got))
	}
	if got, token := b.exported(feed.ExportRequest{Collection: "none"}, func() {}); len(got) != 0 || len(token.Spans) != 1 {
		t.Errorf("of a collection without entities: %v, %v", got, token)
	}
	stop := errors.New("stop")
	if _, err := b.feed.Export(context.Background(), feed.ExportRequest{Collection: "c"}, func([]freshet.Change) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of yield is lost: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.feed.Export(ctx, feed.ExportRequest{Collection: "c"}, func([]freshet.Change) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("it goes on after its context: %v", err)
	}
}
