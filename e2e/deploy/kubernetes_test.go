package deploy

import (
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// manifest returns the objects of the example. Fields that Kubernetes does not know fail the test.
func manifest(t *testing.T) (corev1.ConfigMap, appsv1.Deployment) {
	t.Helper()
	documents := strings.Split(read(t, "examples/kubernetes/deployment.yaml"), "\n---\n")
	if len(documents) != 2 {
		t.Fatalf("%d documents", len(documents))
	}
	var configuration corev1.ConfigMap
	var deployment appsv1.Deployment
	for i, object := range []any{&configuration, &deployment} {
		text, err := yaml.YAMLToJSONStrict([]byte(documents[i] + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		// Decode it as the API server does, which distinguishes upper and lower case.
		if unknown, err := json.UnmarshalStrict(text, object); err != nil || len(unknown) > 0 {
			t.Fatal(unknown, err)
		}
	}
	return configuration, deployment
}

// The pod does not run as root and writes only to its volumes. Every mount has a volume.
func TestKubernetesPodIsRestricted(t *testing.T) {
	configuration, deployment := manifest(t)
	pod := deployment.Spec.Template.Spec
	for key, value := range deployment.Spec.Selector.MatchLabels {
		if deployment.Spec.Template.Labels[key] != value {
			t.Errorf("the pods have no label %s=%s", key, value)
		}
	}
	if c := pod.SecurityContext; c == nil || c.RunAsNonRoot == nil || !*c.RunAsNonRoot || c.RunAsUser == nil ||
		*c.RunAsUser != 65532 ||
		c.FSGroup == nil || *c.FSGroup != 65532 || c.SeccompProfile == nil ||
		c.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's security context is %+v", c)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the pod has the token of a service account")
	}
	volumes := map[string]corev1.Volume{}
	for _, volume := range pod.Volumes {
		volumes[volume.Name] = volume
	}
	for _, container := range append(pod.InitContainers, pod.Containers...) {
		c := container.SecurityContext
		if c == nil || c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem ||
			c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation ||
			c.Capabilities == nil || len(c.Capabilities.Drop) != 1 || c.Capabilities.Drop[0] != "ALL" {
			t.Errorf("the security context of %s is %+v", container.Name, c)
		}
		for _, mount := range container.VolumeMounts {
			if _, ok := volumes[mount.Name]; !ok {
				t.Errorf("%s mounts %s, which is no volume", container.Name, mount.Name)
			}
		}
		if strings.HasSuffix(container.Image, ":latest") || !strings.Contains(container.Image, ":") {
			t.Errorf("the image of %s has no version: %s", container.Name, container.Image)
		}
	}
	if name := volumes["configuration"].ConfigMap.Name; name != configuration.Name {
		t.Errorf("the configuration is of %s", name)
	}
	if policy := pod.InitContainers[0].RestartPolicy; policy == nil || *policy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("the sidecar does not keep running: %v", policy)
	}
	// The paths that the image expects are in the Dockerfile.
	image := parseDockerfile(t, read(t, "Dockerfile")).last()
	mounted := map[string]bool{}
	for _, mount := range pod.InitContainers[0].VolumeMounts {
		mounted[mount.MountPath] = true
	}
	for _, path := range []string{image.env["XDG_DATA_HOME"], image.env["XDG_CONFIG_HOME"], "/etc/caddy"} {
		if !mounted[path] {
			t.Errorf("nothing is mounted at %s", path)
		}
	}
	if user := strconv.FormatInt(*pod.SecurityContext.RunAsUser, 10); !strings.HasPrefix(image.user, user+":") {
		t.Errorf("the pod runs as %s, the image as %s", user, image.user)
	}
}

// The sidecar is alive at once, and ready when it has a token. Probes come to an address other than
// loopback, and reach nothing else of the admin API.
func TestKubernetesProbes(t *testing.T) {
	t.Parallel()
	configuration, deployment := manifest(t)
	srv := provider(t, tokensourcetest.Config{})
	srv.SetClientSecrets("orders", "another one")
	caddyfile := configuration.Data["Caddyfile"]
	formatted(t, caddyfile)

	dir, probes, proxy, admin := shortDir(t), port(t), port(t), port(t)
	secret := filepath.Join(dir, "client-secret")
	write(t, secret, "orders-secret\n")
	caddyfile = adjust(t, caddyfile,
		"https://login.example.com/oauth/token", srv.TokenURL(),
		"https://api.example.com", srv.URL,
		"/run/secrets/authinject/client-secret", secret,
		":8080 {", ":"+proxy+" {", ":8081 {", ":"+probes+" {")
	s := serveAt(t, harness.Binary(t), dir, caddyfile, "localhost:"+admin)

	container := deployment.Spec.Template.Spec.InitContainers[0]
	address := func(probe *corev1.Probe) string {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.String() != "probes" ||
			container.Ports[0].Name != "probes" || container.Ports[0].ContainerPort != 8081 {
			t.Fatalf("not the probe of the site on port 8081: %+v", probe)
		}
		return "http://" + net.JoinHostPort(podAddress(t), probes) + probe.HTTPGet.Path
	}
	wants(t, address(container.StartupProbe), http.StatusOK)
	wants(t, address(container.LivenessProbe), http.StatusOK)
	if body := wants(t, address(container.ReadinessProbe), http.StatusServiceUnavailable); !strings.Contains(body,
		`"orders"`) {
		t.Errorf("without a token, /ready says %s", body)
	}
	wants(t, "http://127.0.0.1:"+proxy+"/api", http.StatusBadGateway) // the secret is wrong: class operator

	// The kubelet writes a new secret into the mounted file.
	srv.SetClientSecrets("orders", "orders-secret")
	wants(t, address(container.ReadinessProbe), http.StatusOK)
	wants(t, address(container.LivenessProbe), http.StatusOK)
	wants(t, "http://127.0.0.1:"+proxy+"/api", http.StatusOK)
	base := "http://" + net.JoinHostPort(podAddress(t), probes)
	if body := wants(t, base+"/metrics", http.StatusOK); !strings.Contains(body,
		`authinject_token_live{source="orders"} 1`) {
		t.Errorf("/metrics has no authinject_token_live:\n%s", body)
	}
	for _, path := range []string{"/config/", "/authinject/sources", "/ready/../config/", "/debug/pprof/", "/"} {
		if status, body, err := get(base + path); err != nil || status != http.StatusNotFound {
			t.Errorf("%s is answered with %d %s, %v", path, status, body, err)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPut} {
		if status, _, err := do(client, method, base+"/ready"); err != nil || status != http.StatusMethodNotAllowed {
			t.Errorf("%s /ready: %d, %v", method, status, err)
		}
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(podAddress(t), proxy)); err == nil && podAddress(t) != "127.0.0.1" {
		conn.Close()
		t.Error("the proxy can be reached from outside the pod")
	}
	if code := s.Stop(); code != 0 {
		t.Errorf("caddy ended with code %d", code)
	}
}

// podAddress returns an address of this machine other than loopback, as a pod has one. On a machine
// without a network it returns 127.0.0.1.
func podAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			return network.IP.String()
		}
	}
	return "127.0.0.1"
}
