// Package test renders the chart with Helm's own packages, decodes what comes out into the
// types of Kubernetes, and starts the program with the containers' environment. It needs
// no cluster, and is a module of its own because of Helm's dependencies.
package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const (
	root  = "../../.."
	chart = "../clerksync"
)

// program is the built clerksync.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "clerksync")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "clerksync")
		build := exec.Command("go", "build", "-o", program, "./cmd/clerksync")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build clerksync: %v\n%s", err, out))
		}
		return m.Run()
	}())
}

// scaledObject has the fields of KEDA's ScaledObject that the chart sets, as in apis/keda/v1alpha1
// of github.com/kedacore/keda 2.21. Its module would bring the clients of every cloud.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef struct {
			Name string `json:"name"` // of a Deployment
		} `json:"scaleTargetRef"`
		MinReplicaCount *int32 `json:"minReplicaCount"`
		MaxReplicaCount *int32 `json:"maxReplicaCount"`
		Triggers        []struct {
			Type     string `json:"type"`
			Metadata struct {
				Endpoint     string `json:"natsServerMonitoringEndpoint"`
				UseHTTPS     string `json:"useHttps"`
				Account      string `json:"account"`
				Stream       string `json:"stream"`
				Consumer     string `json:"consumer"`
				LagThreshold string `json:"lagThreshold"`
			} `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// release is the chart, rendered with one set of values.
type release struct {
	notes     string
	manifests string // all of them, as text

	deployments []*appsv1.Deployment
	jobs        []*batchv1.Job
	services    []*corev1.Service
	ingresses   []*networkingv1.Ingress
	policies    []*networkingv1.NetworkPolicy
	budgets     []*policyv1.PodDisruptionBudget
	hpas        []*autoscalingv2.HorizontalPodAutoscaler
	scaled      []*scaledObject
	monitors    []*monitoringv1.ServiceMonitor
	rules       []*monitoringv1.PrometheusRule
}

// pod is a template of pods, and what it is of.
type pod struct {
	role string
	*corev1.PodTemplateSpec
}

// pods returns the templates of all pods.
func (r *release) pods() []pod {
	var all []pod
	for _, d := range r.deployments {
		all = append(all, pod{d.Labels["app.kubernetes.io/component"], &d.Spec.Template})
	}
	for _, j := range r.jobs {
		all = append(all, pod{"migration", &j.Spec.Template})
	}
	return all
}

func (p pod) container() corev1.Container { return p.Spec.Containers[0] }

// env returns a variable, nil when it is not set.
func (p pod) env(name string) *corev1.EnvVar {
	for _, e := range p.container().Env {
		if e.Name == name {
			return &e
		}
	}
	return nil
}

// eachRelease runs f for every file in ci.
func eachRelease(t *testing.T, f func(t *testing.T, r *release)) {
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			t.Parallel()
			f(t, mustRender(t, file))
		})
	}
}

func mustRender(t *testing.T, file string) *release {
	t.Helper()
	r, err := render(t, readValues(t, file))
	require.NoError(t, err)
	return r
}

func readValues(t *testing.T, file string) map[string]any {
	t.Helper()
	values, err := common.ReadValuesFile(file)
	require.NoError(t, err)
	return values
}

// render returns what the chart renders. The error is that of the user's values; a
// manifest that Kubernetes would not take fails the test.
func render(t *testing.T, values map[string]any) (*release, error) {
	t.Helper()
	c, err := loader.LoadDir(chart)
	require.NoError(t, err)
	options := common.ReleaseOptions{Name: "acme", Namespace: "apps", Revision: 1, IsInstall: true}
	top, err := util.ToRenderValues(c, values, options, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{}.RenderWithContext(context.Background(), c, top)
	if err != nil {
		return nil, err
	}
	r := &release{}
	for name, text := range files {
		switch filepath.Ext(name) {
		case ".txt":
			r.notes = text
		case ".yaml":
			r.manifests += text
			for document := range strings.SplitSeq(text, "\n---\n") {
				r.decode(t, name, document)
			}
		}
	}
	return r, nil
}

// decode adds the object of a document. Fields that its kind does not have fail the test;
// so do names that differ in case, which encoding/json would take.
func (r *release) decode(t *testing.T, name, document string) {
	t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(document))
	require.NoError(t, err, "%s:\n%s", name, document)
	var kind metav1.TypeMeta
	require.NoError(t, yaml.Unmarshal(data, &kind))
	into := func(object any) {
		t.Helper()
		strict, err := json.UnmarshalStrict(data, object)
		require.NoError(t, err, "%s:\n%s", name, document)
		require.Empty(t, strict, "%s:\n%s", name, document)
	}
	switch kind.APIVersion + " " + kind.Kind {
	case " ": // nothing but comments
	case "apps/v1 Deployment":
		into(added(&r.deployments))
	case "batch/v1 Job":
		into(added(&r.jobs))
	case "v1 Service":
		into(added(&r.services))
	case "networking.k8s.io/v1 Ingress":
		into(added(&r.ingresses))
	case "networking.k8s.io/v1 NetworkPolicy":
		into(added(&r.policies))
	case "policy/v1 PodDisruptionBudget":
		into(added(&r.budgets))
	case "autoscaling/v2 HorizontalPodAutoscaler":
		into(added(&r.hpas))
	case "keda.sh/v1alpha1 ScaledObject":
		into(added(&r.scaled))
	case "monitoring.coreos.com/v1 ServiceMonitor":
		into(added(&r.monitors))
	case "monitoring.coreos.com/v1 PrometheusRule":
		into(added(&r.rules))
	default:
		t.Fatalf("%s renders a kind that no test knows: %s %s", name, kind.APIVersion, kind.Kind)
	}
}

// added appends a new object, and returns it.
func added[T any](list *[]*T) *T {
	object := new(T)
	*list = append(*list, object)
	return object
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}
