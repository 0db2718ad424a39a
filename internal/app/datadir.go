package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// DataDir is the folder of what clerksync itself stores. One process at a time
// uses it; while it does, it says there where the other commands find it.
type DataDir struct {
	path string
	lock *os.File
}

// Running is how other commands reach the process that uses a data folder. It
// holds secrets, and is readable by the owner only.
type Running struct {
	PID           int       `json:"pid"`
	Command       string    `json:"command"` // dev or serve
	StartedAt     time.Time `json:"started_at"`
	Endpoint      string    `json:"endpoint,omitempty"`
	SigningSecret string    `json:"signing_secret,omitempty"`
	AdminURL      string    `json:"admin_url,omitempty"`
	DatabaseURL   string    `json:"database_url,omitempty"`
	Schema        string    `json:"schema,omitempty"`
	NATSURL       string    `json:"nats_url,omitempty"`
	InstanceID    string    `json:"instance_id,omitempty"` // Clerk instance whose events are taken, "" for all
}

const (
	lockFile    = "lock"
	runningFile = "running.json"
	secretFile  = "signing-secret"
	tokenFile   = "nats-token"
)

// ErrInUse means that another process uses the data folder.
var ErrInUse = errors.New("data folder in use")

// OpenDataDir makes the folder, if need be, and takes it for this process.
func OpenDataDir(path string) (*DataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	// Others may pass through, to what is theirs: PostgreSQL runs as a user of its
	// own when we are root. Everything that is ours is closed by itself.
	if err := os.Mkdir(path, 0o711); err == nil {
		err = os.Chmod(path, 0o711)
		if err != nil {
			return nil, fmt.Errorf("make data folder: %w", err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make data folder: %w; CLERKSYNC_DATA_DIR names another", err)
	}
	lock, err := lockFolder(filepath.Join(path, lockFile))
	if err != nil {
		if errors.Is(err, ErrInUse) {
			if r, e := ReadRunning(path); e == nil {
				return nil, fmt.Errorf("%w: clerksync %s is running on %s as process %d, at %s; stop it, or name another CLERKSYNC_DATA_DIR",
					ErrInUse, r.Command, path, r.PID, r.Endpoint)
			}
			return nil, fmt.Errorf("%w: another clerksync is starting or stopping on %s; name another CLERKSYNC_DATA_DIR to run both", ErrInUse, path)
		}
		return nil, fmt.Errorf("lock data folder %s: %w; CLERKSYNC_DATA_DIR names another", path, err)
	}
	d := &DataDir{path: path, lock: lock}
	// What a killed process said does not hold any more.
	if err := os.Remove(d.file(runningFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Close()
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	return d, nil
}

func (d *DataDir) file(name string) string { return filepath.Join(d.path, name) }

// Announce says where this process is to be found.
func (d *DataDir) Announce(r Running) error {
	r.PID, r.StartedAt = os.Getpid(), time.Now().UTC()
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	if err := writePrivate(d.file(runningFile), append(data, '\n')); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// Keep returns what stands in a file of the folder, after filling it with the
// result of make at the first time.
func (d *DataDir) Keep(name string, make func() (string, error)) (string, error) {
	data, err := os.ReadFile(d.file(name))
	if err == nil {
		return string(data), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read data folder: %w", err)
	}
	value, err := make()
	if err != nil {
		return "", err
	}
	if err := writePrivate(d.file(name), []byte(value)); err != nil {
		return "", fmt.Errorf("write data folder: %w", err)
	}
	return value, nil
}

// Close gives the folder back.
func (d *DataDir) Close() error {
	err := os.Remove(d.file(runningFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, d.lock.Close())
}

// writePrivate writes a file for the owner only, whole or not at all.
func writePrivate(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// ErrNotRunning means that no process uses the data folder.
var ErrNotRunning = errors.New("not running")

// FindRunning returns how to reach the process that uses a data folder.
func FindRunning(path string) (*Running, error) {
	r, err := ReadRunning(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no clerksync uses the data folder %s", ErrNotRunning, path)
	}
	if err != nil {
		return nil, err
	}
	// The file of a process that was killed is still there, its lock is not.
	lock, err := lockFolder(filepath.Join(path, lockFile))
	if err == nil {
		lock.Close()
		return nil, fmt.Errorf("%w: clerksync %s on %s (process %d) is gone; start it again", ErrNotRunning, r.Command, path, r.PID)
	}
	if !errors.Is(err, ErrInUse) {
		return nil, fmt.Errorf("look at data folder %s: %w", path, err)
	}
	return r, nil
}

// ReadRunning returns what the last process of a data folder announced.
func ReadRunning(path string) (*Running, error) {
	data, err := os.ReadFile(filepath.Join(path, runningFile))
	if err != nil {
		return nil, err
	}
	r := &Running{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(path, runningFile), err)
	}
	return r, nil
}
