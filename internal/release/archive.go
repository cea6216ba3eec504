package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// An entry is a file of an archive. Its content is the file at path or, without a path, content.
type entry struct {
	name    string
	path    string
	content []byte
	mode    fs.FileMode
}

func (e entry) read() ([]byte, error) {
	if e.path != "" {
		return os.ReadFile(e.path)
	}
	return e.content, nil
}

// packTar writes the entries into a folder of a gzipped tar. The tar holds no owner and no time of
// this machine.
func packTar(path, folder string, entries []entry, mtime time.Time) error {
	return create(path, func(file io.Writer) error {
		compressed := gzip.NewWriter(file)
		archive := tar.NewWriter(compressed)
		for _, e := range sorted(entries) {
			content, err := e.read()
			if err != nil {
				return err
			}
			header := &tar.Header{
				Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
				Name: folder + "/" + e.name, Size: int64(len(content)), Mode: int64(e.mode), ModTime: mtime,
			}
			if err := archive.WriteHeader(header); err != nil {
				return err
			}
			if _, err := archive.Write(content); err != nil {
				return err
			}
		}
		if err := archive.Close(); err != nil {
			return err
		}
		return compressed.Close()
	})
}

// packZip is like packTar, but writes a zip file for Windows.
func packZip(path, folder string, entries []entry, mtime time.Time) error {
	return create(path, func(file io.Writer) error {
		archive := zip.NewWriter(file)
		for _, e := range sorted(entries) {
			content, err := e.read()
			if err != nil {
				return err
			}
			header := &zip.FileHeader{Name: folder + "/" + e.name, Method: zip.Deflate, Modified: mtime}
			header.SetMode(e.mode)
			w, err := archive.CreateHeader(header)
			if err != nil {
				return err
			}
			if _, err := w.Write(content); err != nil {
				return err
			}
		}
		return archive.Close()
	})
}

func sorted(entries []entry) []entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return strings.Compare(a.name, b.name) })
}

func create(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// writeSums writes the SHA-256 sums of the files in dir, in the form that sha256sum -c reads.
func writeSums(dir string, names []string) error {
	var lines strings.Builder
	for _, name := range slices.Sorted(slices.Values(names)) {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, file)
		_ = file.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), name)
	}
	return os.WriteFile(filepath.Join(dir, sumsFile), []byte(lines.String()), 0o644) //nolint:gosec // the file is published
}
