package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Options says what a Process is started with.
type Options struct {
	Venv   string // virtual environment; empty: DefaultVenv
	CPU    int    // processor that the process is pinned to; negative: none
	Metric string // cosine, inner_product or l2
	// Base and Queries are fvecs files. Cosine vectors are normalised by the process.
	Base, Queries string
}

// Index describes an index to open.
type Index struct {
	Engine   string `json:"engine"`
	Index    string `json:"index"`
	M        int    `json:"m"`
	Efc      int    `json:"efc"`
	Capacity int    `json:"capacity"`
	Replace  bool   `json:"replace"` // let new vectors take the places of deleted ones (hnswlib)
}

// BuildResult is what adding all vectors took. Bytes is by how much the resident memory of the process grew.
type BuildResult struct {
	CPUSeconds  float64 `json:"cpu_s"`
	WallSeconds float64 `json:"wall_s"`
	Bytes       int64   `json:"bytes"`
}

// SearchResult is what searching all queries, once or several times, took.
type SearchResult struct {
	CPUSeconds float64 `json:"cpu_s"`
	Queries    int     `json:"queries"`
	IDs        []int64 `json:"-"` // k per query, when asked for; what an engine did not find is out of range
}

// Latency is the wall time of single calls, the share of Python included.
type Latency struct {
	P50Micros float64 `json:"p50_us"`
	P99Micros float64 `json:"p99_us"`
}

// Process is one peer index in a process of its own. Its methods must not be called at the same time.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	dir    string
}

// Start starts a process and waits until it has read the files. Close ends it, and so does the end of ctx.
func Start(ctx context.Context, opt Options) (*Process, error) {
	return start(ctx, opt.Venv, "peers.py", strconv.Itoa(opt.CPU), opt.Metric, opt.Base, opt.Queries)
}

// start runs one of the scripts, and waits until it says that it is ready.
func start(ctx context.Context, venv, script string, args ...string) (*Process, error) {
	if venv == "" {
		venv = DefaultVenv
	}
	interpreter, err := python(venv)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "freshet-peer-")
	if err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	p := &Process{dir: dir}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			p.Close()
			return nil, fmt.Errorf("peers: %w", err)
		}
	}
	p.cmd = exec.CommandContext(ctx, interpreter, append([]string{filepath.Join(dir, script)}, args...)...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.cmd = nil
		p.Close()
		return nil, fmt.Errorf("peers: %w", err)
	}
	p.out = bufio.NewReader(out)
	if err := p.receive("start", nil); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Open makes an empty index and returns what the engine says about its build: versions, compile flags, SIMD.
func (p *Process) Open(x Index) (info map[string]string, err error) {
	err = p.call("open", struct {
		Op string `json:"op"`
		Index
	}{"open", x}, &info)
	return info, err
}

// Build adds all base vectors with their rows as ids.
func (p *Process) Build() (r BuildResult, err error) {
	err = p.call("build", map[string]any{"op": "build"}, &r)
	return r, err
}

// Apply deletes ids, then adds base rows under new ids, and returns what it took.
func (p *Process) Apply(remove, ids, rows []int) (r BuildResult, err error) {
	none := []int{}
	err = p.call("apply", map[string]any{"op": "apply", "delete": append(none, remove...), "ids": append(none, ids...),
		"rows": append(none, rows...)}, &r)
	return r, err
}

// Search searches all queries at once, again until seconds of processor time have passed. With ids the first answer comes
// along.
func (p *Process) Search(ef, k int, seconds float64, ids bool) (r SearchResult, err error) {
	request := map[string]any{"op": "search", "ef": ef, "k": k, "seconds": seconds}
	path := filepath.Join(p.dir, "ids")
	if ids {
		request["out"] = path
	}
	if err := p.call("search", request, &r); err != nil || !ids {
		return r, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("peers: %w", err)
	}
	r.IDs = make([]int64, len(raw)/8)
	for i := range r.IDs {
		r.IDs[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return r, nil
}

// Latency searches every query by a call of its own.
func (p *Process) Latency(ef, k int) (r Latency, err error) {
	err = p.call("latency", map[string]any{"op": "latency", "ef": ef, "k": k}, &r)
	return r, err
}

// Close ends the process. It may be called twice.
func (p *Process) Close() {
	if p.cmd != nil {
		p.in.Close() // the end of its input ends the process
		_ = p.cmd.Wait()
		p.cmd = nil
	}
	os.RemoveAll(p.dir)
}

// call sends a request and reads its answer into result.
func (p *Process) call(op string, request, result any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("peers: %s: %w", op, err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("peers: %s: the process has ended: %s", op, p.lastWords())
	}
	return p.receive(op, result)
}

func (p *Process) receive(op string, result any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		_ = p.cmd.Wait() // so that all of its standard error is there
		return fmt.Errorf("peers: %s: the process has ended: %s", op, p.lastWords())
	}
	var failure struct{ Error string }
	if err := json.Unmarshal(line, &failure); err != nil {
		return fmt.Errorf("peers: %s: answer %q: %w", op, line, err)
	}
	if failure.Error != "" {
		return fmt.Errorf("peers: %s: %s", op, failure.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(line, result); err != nil {
		return fmt.Errorf("peers: %s: answer %q: %w", op, line, err)
	}
	return nil
}

// lastWords is the end of what the process wrote to its standard error.
func (p *Process) lastWords() string {
	const most = 1000
	b := bytes.TrimSpace(p.stderr.Bytes())
	return string(b[max(0, len(b)-most):])
}
