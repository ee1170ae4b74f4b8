// Command inject shows what Dapr's injector makes of pods: the very code that a cluster runs, with the chart's values.
//
// It reads a JSON list of pods from standard input, and writes the patched ones with the list of all annotations that
// the injector reads, so that a misspelt one, which it would ignore without a word, is found.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/dapr/dapr/pkg/injector/patcher"
)

const (
	controlPlane  = "dapr-system"
	clusterDomain = "cluster.local"
	schedulers    = 1 // the chart's, where it is not highly available
)

type shown struct {
	Annotations []string      `json:"annotations"`
	Pods        []*corev1.Pod `json:"pods"`
}

func main() {
	if err := show(); err != nil {
		fmt.Fprintln(os.Stderr, "inject:", err)
		os.Exit(1)
	}
}

func show() error {
	var pods []*corev1.Pod
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&pods); err != nil {
		return err
	}
	all := shown{Annotations: annotations()}
	for _, pod := range pods {
		patched, err := inject(pod)
		if err != nil {
			return fmt.Errorf("%s: %w", pod.Name, err)
		}
		all.Pods = append(all.Pods, patched)
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

// inject does as the injector's own webhook does (pkg/injector/service/pod_patch.go), which needs a cluster to run.
func inject(pod *corev1.Pod) (*corev1.Pod, error) {
	sidecar := patcher.NewSidecarConfig(pod)
	sidecar.Namespace = pod.Namespace
	sidecar.MTLSEnabled = true
	sidecar.Identity = pod.Namespace + ":" + pod.Spec.ServiceAccountName
	sidecar.ImagePullPolicy = corev1.PullIfNotPresent
	sidecar.SidecarImage = "daprd"
	sidecar.RunAsNonRoot = true
	sidecar.ReadOnlyRootFilesystem = true
	sidecar.SidecarDropALLCapabilities = true // not the chart's own value: k8s/README.md says to set it
	sidecar.ControlPlaneNamespace = controlPlane
	sidecar.ControlPlaneTrustDomain = clusterDomain
	sidecar.SentryAddress = patcher.ServiceSentry.Address(controlPlane, clusterDomain)
	sidecar.OperatorAddress = patcher.ServiceAPI.Address(controlPlane, clusterDomain)
	sidecar.PlacementAddress = patcher.ServicePlacement.Address(controlPlane, clusterDomain)
	sidecar.SchedulerAddress = strings.Join(
		patcher.ServiceScheduler.AddressAllInstances(schedulers, controlPlane, clusterDomain), ",")
	sidecar.SetFromPodAnnotations()
	patch, err := sidecar.GetPatch()
	if err != nil || len(patch) == 0 {
		return pod, err
	}
	return patcher.PatchPod(pod, patch)
}

// annotations lists the names that the injector reads, as its own struct has them.
func annotations() []string {
	var names []string
	config := reflect.TypeOf(patcher.SidecarConfig{})
	for i := range config.NumField() {
		if name := config.Field(i).Tag.Get("annotation"); name != "" {
			names = append(names, name)
		}
	}
	return names
}
