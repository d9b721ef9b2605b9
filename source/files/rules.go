package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// rules decide by name what is passed over.
type rules struct {
	ignore []string
	data   fs.FileInfo // freshet's own data folder; nil where it is not on this file system
}

func checkPatterns(patterns []string) error {
	for _, p := range patterns {
		if _, err := filepath.Match(p, ""); err != nil {
			return fmt.Errorf("ignore: %q is no pattern of a name: %w; see path/filepath.Match", p, err)
		}
	}
	return nil
}

// name reports whether files and folders of this base name are passed over.
func (r rules) name(base string) bool {
	if strings.HasPrefix(base, ".") {
		return true
	}
	for _, p := range r.ignore {
		if ok, _ := filepath.Match(p, base); ok {
			return true
		}
	}
	return false
}

// folder reports whether a folder, whose name is not passed over as such, is.
func (r rules) folder(info fs.FileInfo) bool {
	switch info.Name() {
	case "node_modules", "vendor", "bin":
		return true
	}
	return r.data != nil && os.SameFile(info, r.data)
}
