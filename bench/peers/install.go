package peers

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed install.sh
var installScript []byte

//go:embed peers.py
var serverScript []byte

//go:embed streams.py
var streamScript []byte

// scripts lie in the folder of every process: streams.py imports the other.
var scripts = map[string][]byte{"peers.py": serverScript, "streams.py": streamScript}

// DefaultVenv is the virtual environment that Install makes and Start uses when none is named, relative to the working
// folder.
const DefaultVenv = ".venv/peers"

// Install makes the virtual environment dir with all peers, building hnswlib for the processor march ("native", or a name
// that the C++ compiler knows, such as haswell for AVX2 without AVX-512). It takes about a minute, needs python3 with its
// headers, a C++ compiler and a package index, and writes what the tools say to log.
func Install(ctx context.Context, dir, march string, log io.Writer) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	cmd := exec.CommandContext(ctx, "sh", "-s", "--", abs, march)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(installScript), log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("peers: install into %s: %w", dir, err)
	}
	return nil
}

// python returns the interpreter of a virtual environment.
func python(venv string) (string, error) {
	path := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("peers: no virtual environment in %s: run `freshet bench peers install --venv %s` first", venv, venv)
	}
	return path, nil
}

// Engines are the engines that can be asked for, and the indexes of each.
func Engines() []string { return []string{"hnswlib", "faiss", "usearch"} }

// Indexes returns the kinds of index of an engine that are measured; nil for an unknown engine.
func Indexes(engine string) []string {
	switch engine {
	case "hnswlib":
		return []string{"f32"}
	case "faiss":
		return []string{"HNSWFlat", "HNSWSQ8", "HNSWSQ8+Refine"}
	case "usearch":
		return []string{"f32", "i8"}
	}
	return nil
}

// Parse returns the engines of a list with commas; an unknown one is an error.
func Parse(list string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" || name == "none" {
			continue
		}
		if Indexes(name) == nil {
			return nil, fmt.Errorf("peers: %q is not known: use some of %v, or none", name, Engines())
		}
		names = append(names, name)
	}
	return names, nil
}
