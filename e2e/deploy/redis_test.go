package deploy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const redisPassword = "redis-password"

// redisCaddy builds a Caddy with a storage in Redis.
func redisCaddy(t *testing.T) string {
	t.Helper()
	return harness.BuildPackage(t, "e2e", "./deploy/rediscaddy")
}

// startRedis runs a Redis that keeps its data in dir, also over a restart.
func startRedis(t *testing.T, dir, port string) *process {
	t.Helper()
	p := launch(t, dir, nil, harness.Tool(t, "redis-server", "redis-server"),
		"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--requirepass", redisPassword,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
	p.until(func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		defer conn.Close()
		answer := make([]byte, 100)
		if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", redisPassword); err != nil {
			return false
		}
		n, err := conn.Read(answer)
		return err == nil && strings.HasPrefix(string(answer[:n]), "+OK")
	}, "Redis to answer")
	return p
}

// instance is one Caddy of the cluster.
type instance struct {
	*server
	proxy string
}

func (i *instance) post(action string) (int, string) {
	i.t.Helper()
	status, body, err := do(client, http.MethodPost, "http://"+i.admin+"/authinject/sources/crm/"+action)
	if err != nil {
		i.t.Fatal(err)
	}
	return status, body
}

// generation returns the generation of the instance's token.
func (i *instance) generation() int {
	i.t.Helper()
	_, body, err := get("http://" + i.admin + "/authinject/sources/crm")
	var source struct {
		Accounts []struct {
			Generation int `json:"generation"`
		} `json:"accounts"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &source)
	}
	if err != nil || len(source.Accounts) != 1 {
		i.t.Fatalf("the status is %s, %v", body, err)
	}
	return source.Accounts[0].Generation
}

// serves fails the test unless a request through the instance gets an answer of the API.
func (i *instance) serves() {
	i.t.Helper()
	if status, body, err := get("http://127.0.0.1:" + i.proxy + "/api"); err != nil || status != http.StatusOK {
		i.t.Errorf("the instance answers with %d %s, %v", status, body, err)
	}
}

// Two instances on one Redis send one token request. One instance is killed, and the other
// continues. While Redis hangs or is stopped, live tokens are still used, and no refresh token is
// spent. When Redis is back, tokens are refreshed again, and an instance that starts again has the
// newest token without a request.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	binary := redisCaddy(t)
	srv := provider(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	secrets, redisDir, redisPort := shortDir(t), shortDir(t), port(t)
	write(t, filepath.Join(secrets, "authinject-key"), encryptionKey)
	write(t, filepath.Join(secrets, "crm-secret"), "crm-secret")
	_, seed := srv.IssueTokens("crm", "ada")
	write(t, filepath.Join(secrets, "crm-refresh-token"), seed)
	redis := startRedis(t, redisDir, redisPort)

	example := read(t, "examples/cluster-redis/Caddyfile.redis")
	formatted(t, adjust(t, example, "/run/secrets", secrets), harness.ExecutedBy(binary),
		harness.Env("REDIS_PASSWORD", redisPassword))
	start := func() *instance {
		t.Helper()
		i := &instance{proxy: port(t)}
		i.server = serve(t, binary, shortDir(t), adjust(t, example,
			"host redis.example.com", "host 127.0.0.1", "port 6379", "port "+redisPort,
			"/run/secrets", secrets,
			"https://login.example.com/oauth/token", srv.TokenURL(),
			"https://crm.example.com", srv.URL,
			":8080 {", ":"+i.proxy+" {"), "REDIS_PASSWORD="+redisPassword)
		wants(t, "http://127.0.0.1:"+i.proxy+"/api", http.StatusOK)
		return i
	}
	requests := func(want int, when string) {
		t.Helper()
		if n := srv.Count(); n != want {
			t.Errorf("%d token requests %s, want %d", n, when, want)
		}
	}
	refresh := func(i *instance, want int) {
		t.Helper()
		rig.Eventually(t, func() bool {
			if srv.Count() < want {
				i.post("refresh")
			}
			return i.generation() == want
		}, "token %d", want)
	}

	a, b := start(), start()
	requests(1, "when both have started")
	refresh(a, 2)
	b.post("sync")
	rig.Eventually(t, func() bool { return b.generation() == 2 }, "the other instance to use the token")
	b.serves()
	requests(2, "when both use the second token")

	a.Kill()
	refresh(b, 3)
	b.serves()
	requests(3, "when one was killed")

	// Redis hangs: it accepts connections, and does not answer.
	if err := redis.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.post("refresh")
	b.serves()
	requests(3, "while Redis hangs")
	if err := redis.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	refresh(b, 4)

	// Redis is stopped.
	redis.Stop()
	b.post("refresh")
	b.serves()
	requests(4, "while Redis is away")
	startRedis(t, redisDir, redisPort)
	refresh(b, 5)
	b.serves()

	a = start()
	a.serves()
	if n := a.generation(); n != 5 {
		t.Errorf("the instance that starts again has token %d", n)
	}
	requests(5, "in the end")
	for _, i := range []*instance{a, b} {
		if code := i.Stop(); code != 0 {
			t.Errorf("caddy ended with code %d", code)
		}
	}
	tokensourcetest.Report(t, srv.CheckReuse())

	// The stored records are sealed.
	stored := 0
	err := filepath.WalkDir(redisDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		stored += strings.Count(string(content), "authinject/record/")
		for _, r := range srv.TokenRequests() {
			if strings.Contains(string(content), r.RefreshToken) {
				t.Errorf("%s holds a refresh token in the clear", path)
			}
		}
		return nil
	})
	if err != nil || stored == 0 {
		t.Errorf("Redis has stored %d records, %v", stored, err)
	}
}
