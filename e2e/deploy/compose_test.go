package deploy

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// The composition is valid by Compose's own rules, and runs the image as intended.
func TestComposeFile(t *testing.T) {
	dir := filepath.Join(harness.Root(t), "examples", "compose")
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
		Environment: types.Mapping{},
	})
	if err != nil {
		t.Fatal(err)
	}
	sidecar, orders := project.Services["authinject"], project.Services["orders"]
	if !sidecar.ReadOnly || !slices.Equal(sidecar.CapDrop, []string{"ALL"}) ||
		!slices.Equal(sidecar.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("the sidecar may do more than it needs: %+v", sidecar)
	}
	if len(sidecar.Ports)+len(orders.Ports) > 0 {
		t.Error("a port of the proxy is published")
	}
	if orders.NetworkMode != "service:authinject" {
		t.Errorf("the program's network is %q", orders.NetworkMode)
	}
	if sidecar.Build.Context != harness.Root(t) || !exists(filepath.Join(sidecar.Build.Context, "Dockerfile")) {
		t.Errorf("the image is built from %s", sidecar.Build.Context)
	}
	image := parseDockerfile(t, read(t, "Dockerfile")).last()
	mounted := map[string]types.ServiceVolumeConfig{}
	for _, volume := range sidecar.Volumes {
		mounted[volume.Target] = volume
	}
	for _, path := range image.volume {
		if mounted[path].Type != types.VolumeTypeVolume {
			t.Errorf("%s is no volume that stays: %+v", path, mounted[path])
		}
	}
	config := image.cmd[len(image.cmd)-1]
	if m := mounted[config]; m.Source != filepath.Join(dir, "Caddyfile") || !m.ReadOnly {
		t.Errorf("the configuration %s is mounted from %+v", config, m)
	}
	if len(sidecar.Secrets) != 1 || project.Secrets[sidecar.Secrets[0].Source].File != filepath.Join(dir, "secrets",
		"orders-secret") {
		t.Errorf("the secrets are %+v", sidecar.Secrets)
	}
}
