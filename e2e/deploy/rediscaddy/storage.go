package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"
)

func init() { caddy.RegisterModule(new(Storage)) }

const (
	// lockLife is how long a lock outlives a holder that died.
	lockLife = 6 * time.Second
	lockPoll = 50 * time.Millisecond
	// callTimeout bounds a call to a Redis that does not answer.
	callTimeout = 2 * time.Second
)

// Storage keeps what Caddy stores in one Redis: a hash for each key, with the value and its time,
// and a string for each lock, which holds its owner and ends by itself.
type Storage struct {
	Host      string `json:"host"`
	Port      string `json:"port"`
	Password  string `json:"password,omitempty"`
	KeyPrefix string `json:"key_prefix"`

	client *redis.Client
	mu     sync.Mutex
	held   map[string]holding
}

// holding is a lock that this process has.
type holding struct {
	owner string
	stop  context.CancelFunc
}

// CaddyModule returns the Caddy module information.
func (*Storage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.redis", New: func() caddy.Module { return new(Storage) }}
}

// UnmarshalCaddyfile reads the options that the example uses.
func (s *Storage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	for d.NextBlock(0) {
		option := map[string]*string{"host": &s.Host, "port": &s.Port, "password": &s.Password,
			"key_prefix": &s.KeyPrefix}[d.Val()]
		if option == nil {
			return d.Errf("unknown option %q", d.Val())
		}
		if !d.AllArgs(option) {
			return d.ArgErr()
		}
	}
	return nil
}

// CertMagicStorage implements [caddy.StorageConverter].
func (s *Storage) CertMagicStorage() (certmagic.Storage, error) {
	s.held = map[string]holding{}
	s.client = redis.NewClient(&redis.Options{
		Addr: net.JoinHostPort(s.Host, s.Port), Password: s.Password,
		DialTimeout: callTimeout, ReadTimeout: callTimeout, WriteTimeout: callTimeout, MaxRetries: -1,
	})
	return s, nil
}

func (s *Storage) record(key string) string { return s.KeyPrefix + "/record/" + key }
func (s *Storage) lock(name string) string  { return s.KeyPrefix + "/lock/" + name }

// Store implements [certmagic.Storage].
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	return s.client.HSet(ctx, s.record(key), "value", value, "time", time.Now().UnixNano()).Err()
}

// Load implements [certmagic.Storage].
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	value, err := s.client.HGet(ctx, s.record(key), "value").Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, fs.ErrNotExist
	}
	return value, err
}

// keys returns the keys at and below a key.
func (s *Storage) keys(ctx context.Context, key string) (keys []string, err error) {
	quoted := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s.record(key))
	all := s.client.Scan(ctx, 0, quoted+"*", 1000).Iterator()
	for all.Next(ctx) {
		found := strings.TrimPrefix(all.Val(), s.record(""))
		if found == key || key == "" || strings.HasPrefix(found, key+"/") {
			keys = append(keys, found)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), all.Err()
}

// Delete implements [certmagic.Storage].
func (s *Storage) Delete(ctx context.Context, key string) error {
	keys, err := s.keys(ctx, key)
	if err != nil {
		return err
	}
	for _, found := range keys {
		if err := s.client.Del(ctx, s.record(found)).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Exists implements [certmagic.Storage].
func (s *Storage) Exists(ctx context.Context, key string) bool {
	keys, err := s.keys(ctx, key)
	return err == nil && len(keys) > 0
}

// List implements [certmagic.Storage].
func (s *Storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	path = strings.Trim(path, "/")
	keys, err := s.keys(ctx, path)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fs.ErrNotExist
	}
	var listed []string
	for _, key := range keys {
		below := strings.TrimPrefix(strings.TrimPrefix(key, path), "/")
		for i, c := range below {
			if c == '/' && (recursive || !strings.Contains(below[:i], "/")) {
				listed = append(listed, strings.TrimPrefix(path+"/"+below[:i], "/"))
			}
		}
		if below != "" && (recursive || !strings.Contains(below, "/")) {
			listed = append(listed, key)
		}
	}
	slices.Sort(listed)
	return slices.Compact(listed), nil
}

// Stat implements [certmagic.Storage].
func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	value, err := s.Load(ctx, key)
	if err == nil {
		stored, err := s.client.HGet(ctx, s.record(key), "time").Int64()
		return certmagic.KeyInfo{Key: key, Modified: time.Unix(0, stored), Size: int64(len(value)), IsTerminal: true}, err
	}
	if errors.Is(err, fs.ErrNotExist) && s.Exists(ctx, key) {
		return certmagic.KeyInfo{Key: key}, nil
	}
	return certmagic.KeyInfo{}, err
}

var (
	prolong = redis.NewScript(
		`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("PEXPIRE", KEYS[1], ARGV[2]) end return 0`)
	release = redis.NewScript(
		`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`)
)

// Lock implements [certmagic.Locker].
func (s *Storage) Lock(ctx context.Context, name string) error {
	owner := rand.Text()
	for {
		got, err := s.client.SetNX(ctx, s.lock(name), owner, lockLife).Result()
		if err != nil {
			return fmt.Errorf("locking %s: %w", name, err)
		}
		if got {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
		}
	}
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.held[name] = holding{owner, stop}
	s.mu.Unlock()
	go func() {
		tick := time.NewTicker(lockLife / 3)
		defer tick.Stop()
		for {
			select {
			case <-alive.Done():
				return
			case <-tick.C:
				_ = prolong.Run(alive, s.client, []string{s.lock(name)}, owner, lockLife.Milliseconds()).Err()
			}
		}
	}()
	return nil
}

// Unlock implements [certmagic.Locker].
func (s *Storage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	held, ok := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("%s is not locked here", name)
	}
	held.stop()
	return release.Run(context.WithoutCancel(ctx), s.client, []string{s.lock(name)}, held.owner).Err()
}

// Interface guards.
var (
	_ caddy.StorageConverter = (*Storage)(nil)
	_ caddyfile.Unmarshaler  = (*Storage)(nil)
	_ certmagic.Storage      = (*Storage)(nil)
)
