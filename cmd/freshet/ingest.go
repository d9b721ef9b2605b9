package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/transfer"
)

// maxRejectedShown is how many rejected records are printed; all are counted.
const maxRejectedShown = 100

// transferFlags are the flags of commands that send a file.
type transferFlags struct {
	server, format, state, rejects string
	quiet, fresh                   bool
}

func (f *transferFlags) add(cmd *cobra.Command) {
	serverFlag(cmd, &f.server)
	fs := cmd.Flags()
	fs.StringVar(&f.format, "format", "", "`FORM` of the file: "+strings.Join(transfer.Forms(), ", ")+"; default what its name says")
	fs.StringVar(&f.state, "state", "", "`FILE` that keeps how far it was sent; default a hidden one beside the file")
	fs.BoolVar(&f.fresh, "no-resume", false, "send all of the file, and keep nothing to go on from")
	fs.StringVar(&f.rejects, "rejects", "", "`FILE` that collects the records that were rejected")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no progress bar")
}

// run sends a file and says what became of it. The exit status is 1 if anything was rejected.
func (f *transferFlags) run(cmd *cobra.Command, file string, send func(transfer.Options) (transfer.Result, error)) error {
	errs := cmd.ErrOrStderr()
	client := newClient(f.server)
	p := &progress{w: errs, start: time.Now(), off: f.quiet}
	o := transfer.Options{Server: &transfer.Server{URL: client.base, HTTP: client.http}, Form: f.format, Resume: f.state, Rejects: f.rejects}
	if o.Resume == "" {
		o.Resume = transfer.ResumePath(file)
	}
	if f.fresh {
		o.Resume = ""
	}
	shown := 0
	o.Rejected = func(line int64, e *freshet.Error) {
		if shown++; shown <= maxRejectedShown {
			fmt.Fprintf(errs, "\r%s:%d: rejected (%s): %s\n", file, line, e.Code, e.Error())
		}
	}
	o.Note = func(format string, args ...any) { fmt.Fprintf(errs, "\r"+format+"\n", args...) }
	o.Progress = p.show
	r, err := send(o)
	p.finish()
	if more := shown - maxRejectedShown; more > 0 {
		fmt.Fprintf(errs, "and %d more were rejected\n", more)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d accepted, %d rejected\n", r.Accepted, r.Rejected)
	if r.Token != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "token of the last request: %s\n", r.Token)
	}
	if err == nil && r.Rejected > 0 {
		return exitError(1)
	}
	if err != nil {
		return fmt.Errorf("%d events were acknowledged, then: %w", r.Accepted, err)
	}
	return nil
}

func newIngest() *cobra.Command {
	var flags transferFlags
	var shape transfer.Shape
	var name string
	cmd := &cobra.Command{
		Use:   "ingest FILE|-",
		Short: "Send a file of events to the server: NDJSON, JSON, CSV or Parquet",
		Long: "Sends the records of a file as events, in order, and waits for each to be durable. A server that asks to\n" +
			"slow down is waited for. Records that are rejected are named with their line, and the exit status is then 1.\n\n" +
			"What was sent is kept in a small file beside it, so that the same command goes on after an interruption; and an\n" +
			"event without an event_id gets one made of the file's path, the line and its bytes: sent again, it has no effect.\n" +
			"Standard input does not resume, and its events get ids only if --name says what to make them of.\n\n" +
			"In CSV and Parquet the columns entity_id, event_id, timestamp, op, order, vector, collection and namespace are fields\n" +
			"of the event, all others its payload. Files may be packed: .gz, .zst.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd, args[0], func(o transfer.Options) (transfer.Result, error) {
				return transfer.Ingest(cmd.Context(), args[0], name, shape, o)
			})
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`NAME` that ids of events are made of, instead of the file's path")
	f.StringVar(&shape.EntityID, "entity-id", "", "`COLUMN` (or member of JSON objects) of the entity's id")
	f.StringVar(&shape.EventID, "event-id", "", "`COLUMN` of the event's id")
	f.StringVar(&shape.Timestamp, "timestamp", "", "`COLUMN` of the time: ms since 1970 or RFC 3339")
	f.StringVar(&shape.Vector, "vector", "", "`COLUMN` of a ready vector")
	f.StringSliceVar(&shape.Text, "text", nil, "`COLUMNS` that make the text, with commas between; several stay in the metadata too")
	f.StringVar(&shape.Collection, "collection", "", "`NAME` for events that name none")
	f.StringVar(&shape.Namespace, "namespace", "", "`NAME` for events that name none")
	f.BoolVar(&shape.Flat, "flat", false, "send records as they are, for a server with a mapping or codec of its own")
	return cmd
}

// progress draws a bar with the rate while a file is sent.
type progress struct {
	w     io.Writer
	start time.Time
	drawn time.Time
	off   bool
	begun bool
	from  int64 // accepted by an earlier call, which has no part in the rate
	draw  func()
}

func (p *progress) show(in *transfer.Input, r transfer.Result) {
	if p.off {
		return
	}
	if !p.begun {
		p.begun, p.start, p.from = true, time.Now(), r.Accepted
	}
	p.draw = func() {
		rate := float64(r.Accepted-p.from) / max(time.Since(p.start).Seconds(), 1e-6)
		if in.Size == 0 {
			fmt.Fprintf(p.w, "\r%d events, %.0f/s ", r.Accepted, rate)
			return
		}
		const width = 30
		share := min(1, float64(in.Read())/float64(in.Size))
		full := int(share * width)
		fmt.Fprintf(p.w, "\r[%s%s] %3.0f %%  %d events, %.0f/s ", strings.Repeat("#", full), strings.Repeat("·", width-full), 100*share, r.Accepted, rate)
	}
	if now := time.Now(); now.Sub(p.drawn) > 100*time.Millisecond {
		p.drawn = now
		p.draw()
	}
}

func (p *progress) finish() {
	if p.draw != nil {
		p.draw()
		fmt.Fprintln(p.w)
	}
}
