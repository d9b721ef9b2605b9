package dataset

import (
	"fmt"
	"os"
	"path/filepath"
)

// SharedDir returns the folder of the shared data sets: the environment variable FRESHET_SHARED, else the folder
// "shared" beside the root of the module that the working folder is in, or beside the working folder.
func SharedDir() (string, error) {
	dir := os.Getenv("FRESHET_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "shared")
		for up := "."; ; up = filepath.Join(up, "..") {
			if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
				dir = filepath.Join(up, "..", "shared")
				break
			}
			if abs, err := filepath.Abs(up); err != nil || abs == filepath.Dir(abs) {
				break
			}
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "data")); err != nil || !st.IsDir() {
		return "", fmt.Errorf("dataset: the shared data is not in %s: set FRESHET_SHARED to its folder, or use data easy", dir)
	}
	return dir, nil
}

func (s Source) sharedDir() (string, error) {
	if s.Shared != "" {
		return s.Shared, nil
	}
	return SharedDir()
}
