package test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// matching returns the pods that a selector selects.
func matching(t *testing.T, r *release, s *metav1.LabelSelector) []pod {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	require.NoError(t, err)
	return slices.DeleteFunc(r.pods(), func(p pod) bool { return !selector.Matches(labels.Set(p.Labels)) })
}

// TestSelectorsMatch: what selects pods selects those of its role and no others.
func TestSelectorsMatch(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r *release) {
		only := func(name string, s *metav1.LabelSelector, role string) {
			t.Helper()
			pods := matching(t, r, s)
			require.Len(t, pods, 1, name)
			require.Equal(t, role, pods[0].role, name)
		}
		for _, d := range r.deployments {
			role := d.Labels["app.kubernetes.io/component"]
			only(d.Name, d.Spec.Selector, role)
			require.Len(t, d.Spec.Template.Spec.TopologySpreadConstraints, 2)
			for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
				only(d.Name, c.LabelSelector, role)
			}
		}
		require.Len(t, r.budgets, len(r.deployments))
		for _, b := range r.budgets {
			only(b.Name, b.Spec.Selector, b.Labels["app.kubernetes.io/component"])
		}
		for _, s := range r.services {
			if role := s.Labels["app.kubernetes.io/component"]; role != "admin" {
				only(s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, role)
			}
		}
	})
}

// TestPodsAreConfined: the restricted standard of Kubernetes, and a bit more.
func TestPodsAreConfined(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r *release) {
		for _, p := range r.pods() {
			spec := p.Spec
			require.False(t, *spec.AutomountServiceAccountToken)
			require.False(t, *spec.EnableServiceLinks)
			require.True(t, *spec.SecurityContext.RunAsNonRoot)
			require.EqualValues(t, 65532, *spec.SecurityContext.RunAsUser)
			require.EqualValues(t, 65532, *spec.SecurityContext.RunAsGroup)
			require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, spec.SecurityContext.SeccompProfile.Type)
			require.Empty(t, spec.InitContainers)
			require.Len(t, spec.Containers, 1)
			c := p.container()
			require.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
			require.Equal(t, &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, c.SecurityContext.Capabilities)
			require.NotZero(t, c.Resources.Limits.Memory().Value())
			require.NotZero(t, c.Resources.Requests.Cpu().MilliValue())
			require.Contains(t, c.Image, "registry.example.com/clerksync")
			var volumes []string
			for _, v := range spec.Volumes {
				volumes = append(volumes, v.Name)
			}
			require.Len(t, c.VolumeMounts, len(volumes))
			for _, m := range c.VolumeMounts {
				require.True(t, m.ReadOnly, m.Name)
				require.Contains(t, volumes, m.Name)
			}
		}
	})
}

// TestSecretsAreReferences: no manifest contains a secret, and only pods that need it refer to it.
func TestSecretsAreReferences(t *testing.T) {
	t.Parallel()
	needed := map[string][]string{
		"CLERK_WEBHOOK_SIGNING_SECRET": {"receiver"},
		"CLERKSYNC_ADMIN_TOKEN":        {"receiver", "worker", "api"},
		"CLERK_SECRET_KEY":             {"worker", "api"},
		"DATABASE_URL":                 {"worker", "api", "migration"},
		"NATS_URL":                     {"receiver", "worker", "api"},
		"CLERKSYNC_NATS_CREDS":         {"receiver", "worker", "api"},
	}
	eachRelease(t, func(t *testing.T, r *release) {
		for _, p := range r.pods() {
			for name, roles := range needed {
				e := p.env(name)
				if e == nil {
					continue
				}
				require.Contains(t, roles, p.role, name)
				switch name {
				case "NATS_URL": // without a password, or a secret
				case "CLERKSYNC_NATS_CREDS":
					requireMounted(t, p, e.Value)
					continue
				default:
					require.Empty(t, e.Value, name)
				}
				if e.Value == "" {
					require.NotEmpty(t, e.ValueFrom.SecretKeyRef.Name)
					require.NotEmpty(t, e.ValueFrom.SecretKeyRef.Key)
				}
			}
			var names []string
			for _, e := range p.container().Env {
				require.NotContains(t, names, e.Name, "twice")
				names = append(names, e.Name)
				require.True(t, e.ValueFrom == nil || needed[e.Name] != nil, e.Name)
			}
		}
	})
}

// requireMounted requires that a file is the only one in a volume of a Secret that the
// group may read.
func requireMounted(t *testing.T, p pod, file string) {
	t.Helper()
	for _, m := range p.container().VolumeMounts {
		name, inside := strings.CutPrefix(file, m.MountPath+"/")
		if !inside {
			continue
		}
		for _, v := range p.Spec.Volumes {
			if v.Name == m.Name {
				require.Len(t, v.Secret.Items, 1)
				require.Equal(t, name, v.Secret.Items[0].Path)
				require.EqualValues(t, 0o440, *v.Secret.DefaultMode)
				require.EqualValues(t, 65532, *p.Spec.SecurityContext.FSGroup)
				return
			}
		}
	}
	t.Fatalf("%s is in no volume", file)
}

// TestStopsInTime: a pod has more time to stop than clerksync takes, which compose.yaml
// knows, after the Services have let go of it.
func TestStopsInTime(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			StopGracePeriod string `json:"stop_grace_period"`
		} `json:"services"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, root+"/deploy/compose.yaml")), &compose))
	drain, err := time.ParseDuration(compose.Services["clerksync"].StopGracePeriod)
	require.NoError(t, err)
	require.Positive(t, drain)
	eachRelease(t, func(t *testing.T, r *release) {
		for _, d := range r.deployments {
			spec, sleep := d.Spec.Template.Spec, int64(0)
			if l := spec.Containers[0].Lifecycle; l != nil {
				sleep = l.PreStop.Sleep.Seconds
				require.Positive(t, sleep)
			}
			require.GreaterOrEqual(t, *spec.TerminationGracePeriodSeconds-sleep, int64(drain.Seconds()), d.Name)
		}
	})
	for _, d := range mustRender(t, chart+"/ci/minimal-values.yaml").deployments {
		public := d.Name != "acme-clerksync-worker"
		require.Equal(t, public, d.Spec.Template.Spec.Containers[0].Lifecycle != nil, "%s sleeps when something sends to it", d.Name)
	}
}

// TestScaling: every scaler has its Deployment, which then leaves the number to it.
func TestScaling(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r *release) {
		scaled := map[string]bool{}
		for _, h := range r.hpas {
			require.Equal(t, "Deployment", h.Spec.ScaleTargetRef.Kind)
			scaled[h.Spec.ScaleTargetRef.Name] = true
			require.LessOrEqual(t, *h.Spec.MinReplicas, h.Spec.MaxReplicas)
			require.Positive(t, *h.Spec.Metrics[0].Resource.Target.AverageUtilization)
		}
		stopped := false
		for _, s := range r.scaled {
			scaled[s.Spec.ScaleTargetRef.Name] = true
			require.LessOrEqual(t, *s.Spec.MinReplicaCount, *s.Spec.MaxReplicaCount)
			stopped = s.Annotations["autoscaling.keda.sh/paused-replicas"] == "0"
		}
		for _, d := range r.deployments {
			switch {
			case stopped && d.Name == "acme-clerksync-worker":
				require.Zero(t, *d.Spec.Replicas)
			case scaled[d.Name]:
				require.Nil(t, d.Spec.Replicas, d.Name)
			default:
				require.Positive(t, *d.Spec.Replicas, d.Name)
			}
			delete(scaled, d.Name)
		}
		require.Empty(t, scaled, "scalers of nothing")
	})
}

// TestLagIsThatOfTheProjector: KEDA asks for the stream and the consumer of the event log.
func TestLagIsThatOfTheProjector(t *testing.T) {
	t.Parallel()
	source := readFile(t, root+"/internal/eventlog/topology.go")
	name := func(constant string) string {
		t.Helper()
		m := regexp.MustCompile(`\n\t` + constant + ` += "(.+)"`).FindStringSubmatch(source)
		require.NotNil(t, m, "topology.go has no constant %s", constant)
		return m[1]
	}
	r := mustRender(t, chart+"/ci/everything-values.yaml")
	require.Len(t, r.scaled, 1)
	require.Len(t, r.scaled[0].Spec.Triggers, 1)
	trigger := r.scaled[0].Spec.Triggers[0]
	require.Equal(t, "nats-jetstream", trigger.Type)
	require.Equal(t, name("Stream"), trigger.Metadata.Stream)
	require.Equal(t, name("ConsumerName"), trigger.Metadata.Consumer)
	require.Equal(t, "nats-headless.nats.svc.cluster.local:8222", trigger.Metadata.Endpoint)
	require.Equal(t, "$G", trigger.Metadata.Account)
	require.Equal(t, "5000", trigger.Metadata.LagThreshold)
}

// TestPortsAreConnected: Services, probes, the Ingress, policies and the ServiceMonitor name
// ports of the containers, and the addresses in the environment are these ports.
func TestPortsAreConnected(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r *release) {
		ports := map[string]map[string]int32{} // by role and name
		for _, p := range r.pods() {
			ports[p.role] = map[string]int32{}
			for _, port := range p.container().Ports {
				ports[p.role][port.Name] = port.ContainerPort
			}
			if p.role == "migration" {
				continue
			}
			require.Equal(t, ":8081", p.env("CLERKSYNC_ADMIN_ADDR").Value)
			require.EqualValues(t, 8081, ports[p.role]["admin"])
			c := p.container()
			for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				require.Equal(t, "admin", probe.HTTPGet.Port.StrVal)
			}
			if p.role == "worker" {
				require.Nil(t, p.env("CLERKSYNC_ADDR"))
				require.Len(t, ports[p.role], 1)
				continue
			}
			require.Equal(t, ":8080", p.env("CLERKSYNC_ADDR").Value)
			require.EqualValues(t, 8080, ports[p.role]["http"])
		}
		services := map[string]*corev1.Service{}
		for _, s := range r.services {
			services[s.Name] = s
			require.Len(t, s.Spec.Ports, 1)
			for _, p := range matching(t, r, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}) {
				if p.role != "migration" { // which has no port, so that no Service has it
					require.Contains(t, ports[p.role], s.Spec.Ports[0].TargetPort.StrVal, s.Name)
				}
			}
		}
		for _, i := range r.ingresses {
			for _, path := range i.Spec.Rules[0].HTTP.Paths {
				service := services[path.Backend.Service.Name]
				require.NotNil(t, service, path.Path)
				require.Equal(t, service.Spec.Ports[0].Name, path.Backend.Service.Port.Name)
				require.NotEqual(t, "/api/authorize", path.Path)
			}
		}
		for _, m := range r.monitors {
			selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
			require.NoError(t, err)
			var found []*corev1.Service
			for _, s := range r.services {
				if selector.Matches(labels.Set(s.Labels)) {
					found = append(found, s)
				}
			}
			require.Len(t, found, 1)
			require.True(t, found[0].Spec.PublishNotReadyAddresses, "what is not ready is worth knowing")
			e := m.Spec.Endpoints[0]
			require.Equal(t, found[0].Spec.Ports[0].Name, e.Port)
			require.Equal(t, r.pods()[0].env("CLERKSYNC_ADMIN_TOKEN").ValueFrom.SecretKeyRef, e.Authorization.Credentials)
			require.Equal(t, "job", e.RelabelConfigs[0].TargetLabel)
			require.Equal(t, "clerksync/apps/acme", *e.RelabelConfigs[0].Replacement)
		}
	})
}

// TestPoliciesAllowWhatIsNeeded: of a pod that is denied everything by default.
func TestPoliciesAllowWhatIsNeeded(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r *release) {
		if len(r.policies) == 0 {
			return // networkPolicy.enabled=false
		}
		both := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
		of := map[string]*networkingv1.NetworkPolicy{}
		for _, policy := range r.policies {
			require.Equal(t, both, policy.Spec.PolicyTypes)
			pods := matching(t, r, &policy.Spec.PodSelector)
			if policy.Labels["app.kubernetes.io/component"] == "" {
				require.Len(t, pods, len(r.pods()), "denies all")
				require.Empty(t, policy.Spec.Ingress)
				require.Empty(t, policy.Spec.Egress)
				continue
			}
			require.Len(t, pods, 1, policy.Name)
			of[pods[0].role] = policy
		}
		require.Len(t, of, len(r.pods()))
		for _, p := range r.pods() {
			policy, names := of[p.role], []string{}
			for _, rule := range policy.Spec.Ingress {
				require.Len(t, rule.Ports, 1)
				names = append(names, rule.Ports[0].Port.StrVal)
				if rule.Ports[0].Port.StrVal == "admin" {
					require.NotEmpty(t, rule.From, "the admin listener is not for everyone")
				}
			}
			var want []string
			for _, port := range p.container().Ports {
				want = append(want, port.Name)
			}
			require.ElementsMatch(t, want, names, p.role)

			var ports []string
			for _, rule := range policy.Spec.Egress {
				for _, port := range rule.Ports {
					ports = append(ports, fmt.Sprintf("%s %d", *port.Protocol, port.Port.IntVal))
				}
			}
			reaches := func(port string, why bool) {
				t.Helper()
				require.Equal(t, why, slices.Contains(ports, port), "%s, port %s", p.role, port)
			}
			has := func(variable string) bool { return p.env(variable) != nil }
			reaches("UDP 53", true)
			reaches("TCP 53", true)
			reaches("TCP 5432", has("DATABASE_URL"))
			reaches("TCP 4222", p.role == "receiver" || p.role == "worker" || p.role == "api" && has("CLERK_SECRET_KEY"))
			reaches("TCP 443", has("CLERK_SECRET_KEY") || p.role == "receiver" && has("CLERKSYNC_PROBE_URL") || p.role == "api" && !has("CLERK_JWT_KEY"))
			reaches("TCP 4318", has("OTEL_EXPORTER_OTLP_ENDPOINT"))
		}
	})
}

// TestMigrationComesFirst: as a hook, with the owner's database, and its policy before it.
func TestMigrationComesFirst(t *testing.T) {
	t.Parallel()
	r := mustRender(t, chart+"/ci/everything-values.yaml")
	require.Len(t, r.jobs, 1)
	job := r.jobs[0]
	require.Equal(t, "pre-install,pre-upgrade", job.Annotations["helm.sh/hook"])
	require.NotContains(t, job.Annotations["helm.sh/hook-delete-policy"], "hook-failed", "its log says why")
	require.Equal(t, []string{"migrate", "up", "--with", "rls"}, job.Spec.Template.Spec.Containers[0].Args)
	require.Equal(t, corev1.RestartPolicyNever, job.Spec.Template.Spec.RestartPolicy)
	for _, p := range r.pods() {
		if p.role == "migration" {
			require.Equal(t, "owner-url", p.env("DATABASE_URL").ValueFrom.SecretKeyRef.Key)
			require.Equal(t, "people", p.env("CLERKSYNC_SCHEMA").Value)
		}
	}
	hooks := 0
	for _, policy := range r.policies {
		if policy.Annotations["helm.sh/hook"] != "" {
			require.Equal(t, job.Annotations["helm.sh/hook"], policy.Annotations["helm.sh/hook"])
			require.Equal(t, "-1", policy.Annotations["helm.sh/hook-weight"])
			hooks++
		}
	}
	require.Equal(t, 1, hooks)
	require.Equal(t, []string{"migrate", "up"}, mustRender(t, chart+"/ci/minimal-values.yaml").jobs[0].Spec.Template.Spec.Containers[0].Args)
	require.Empty(t, mustRender(t, chart+"/ci/no-autoscaling-values.yaml").jobs)
}
