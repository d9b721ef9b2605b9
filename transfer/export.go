package transfer

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/parquet"
)

// exportGroup is how many rows of a Parquet file are written as one group, which is held in memory.
const exportGroup = 4096

// tokenKey is the metadata of a Parquet file that has the place in the changes where it was exported.
const tokenKey = "freshet.token"

// ExportOptions say what to export and how.
type ExportOptions struct {
	Server     *Server
	Collection string
	Namespace  string // "": all of them
	Filter     string // "": all entities
	Form       string // "" for what the file's name says; ndjson or parquet
	// Progress is called now and then.
	Progress func(entities int64)
}

// Exported is what became of an export.
type Exported struct {
	Entities int64
	// Token is the place in the changes from which they go on behind the export.
	Token string
}

// Export writes the entities of a collection at one instant to a file, "-" for standard output. The file gets its name once it
// is whole and durable.
func Export(ctx context.Context, path string, o ExportOptions) (Exported, error) {
	form, compression, err := FormOf(path, o.Form)
	if err != nil {
		return Exported{}, err
	}
	if form != NDJSON && form != Parquet {
		return Exported{}, fmt.Errorf("an export has the form %s or %s, not %s: name it with --format", NDJSON, Parquet, form)
	}
	body, err := o.Server.export(ctx, &o)
	if err != nil {
		return Exported{}, err
	}
	defer body.Close()
	var done Exported
	write := func(f *os.File) error {
		w := bufio.NewWriterSize(f, 1<<20)
		var err error
		if form == Parquet {
			done, err = exportParquet(body, w, &o)
		} else {
			done, err = exportLines(body, w, compression, &o)
		}
		return errors.Join(err, w.Flush())
	}
	if path == "-" {
		err = write(os.Stdout)
	} else {
		err = replaceFile(path, write)
	}
	return done, err
}

// export asks for the stream of an export.
func (s *Server) export(ctx context.Context, o *ExportOptions) (io.ReadCloser, error) {
	q := url.Values{"collection": {o.Collection}}
	if o.Namespace != "" {
		q.Set("namespace", o.Namespace)
	}
	if o.Filter != "" {
		q.Set("filter", o.Filter)
	}
	return s.get(ctx, "/v1/admin/export?"+q.Encode())
}

// get returns the body of an answer whose status is 200.
func (s *Server) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; is a server running there? name it with --server", err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var a answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || a.Detail == "" {
		a.Detail = res.Status
	}
	return nil, fmt.Errorf("the server answered with status %d: %s", res.StatusCode, a.Detail)
}

// eachEntity reads the lines of an export. The last one is a place; without it the export is not whole.
func eachEntity(body io.Reader, o *ExportOptions, yield func(line []byte) error) (done Exported, err error) {
	lines := codec.NewLines(body, maxRecord*4)
	for {
		line, err := lines.Next()
		switch {
		case err == io.EOF:
			return done, errors.New("the export broke off; try again")
		case err != nil:
			return done, fmt.Errorf("the export broke off: %w; try again", err)
		}
		var head struct {
			Token    string `json:"token"`
			EntityID string `json:"entity_id"`
			Detail   string `json:"detail"`
			Status   int    `json:"status"`
		}
		if len(line) < 2000 { // the last line and problems are short; others need not be read here
			if err := json.Unmarshal(line, &head); err != nil {
				return done, fmt.Errorf("the export holds a line that is no JSON: %w", err)
			}
		}
		switch {
		case head.Status != 0 && head.EntityID == "":
			return done, fmt.Errorf("the export broke off: %s", head.Detail)
		case head.Token != "":
			done.Token = head.Token
			return done, yield(line)
		}
		if err := yield(line); err != nil {
			return done, err
		}
		if done.Entities++; done.Entities%1000 == 0 {
			o.Progress(done.Entities)
		}
	}
}

// exportLines writes the lines as they come; the last one stays too, and tells an import that it is all there.
func exportLines(body io.Reader, w io.Writer, compression string, o *ExportOptions) (done Exported, err error) {
	var pack io.Closer
	switch compression {
	case "gzip":
		z := gzip.NewWriter(w)
		w, pack = z, z
	case "zstd":
		z, err := zstd.NewWriter(w)
		if err != nil {
			return done, err
		}
		w, pack = z, z
	}
	done, err = eachEntity(body, o, func(line []byte) error {
		if _, err := w.Write(line); err != nil {
			return err
		}
		_, err := w.Write([]byte{'\n'})
		return err
	})
	if pack != nil {
		err = errors.Join(err, pack.Close())
	}
	return done, err
}

func exportParquet(body io.Reader, w io.Writer, o *ExportOptions) (Exported, error) {
	p := parquet.NewWriter[entityRow](w, exportGroup)
	done, err := eachEntity(body, o, func(line []byte) error {
		e, err := parseEntity(line)
		if err != nil || e.place() {
			return err
		}
		row, err := e.row()
		if err != nil {
			return err
		}
		return p.Write(row)
	})
	if err != nil {
		return done, err
	}
	p.SetMetadata(tokenKey, done.Token)
	return done, p.Close()
}
