// Nothing is built of these: tests read the CustomResourceDefinitions that they hold.
module outrigger/crds-k8s

go 1.24.0

require (
	github.com/kedacore/keda/v2 v2.16.1
	istio.io/api v1.24.2
)
