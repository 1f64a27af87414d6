"""Which kinds a network's answers depend on, and which of them Steppe judges.

in use       read and judged (documents.py)
makes pods   custom and older kinds whose pods are not in the answer
decides      objects of other projects that allow, deny or redirect traffic: named, not judged
passed over  what has nothing to do with traffic: not even decoded
"""

import re
from collections.abc import Iterable, Mapping

from steppe.kube.kinds import group_in

_DECIDING_GROUPS = (
    "cilium.io",
    "projectcalico.org",
    "antrea.io",
    "gateway.networking.k8s.io",
    "networking.istio.io",
    "security.istio.io",
    "policy.linkerd.io",
    "kuma.io",
    "kubeovn.io",
    "submariner.io",
    "multicluster.x-k8s.io",
    "nsx.vmware.com",
)
"""API groups (and their subdomains) whose objects may allow, deny or redirect traffic."""

_DECIDING_KINDS: Mapping[str, frozenset[str]] = {
    "k8s.ovn.org": frozenset(
        (
            "AdminPolicyBasedExternalRoute",
            "ClusterUserDefinedNetwork",
            "EgressFirewall",
            "EgressIP",
            "EgressQoS",
            "EgressService",
            "RouteAdvertisements",
            "UserDefinedNetwork",
        )
    ),
    "k8s.cni.cncf.io": frozenset(("MultiNetworkPolicy", "NetworkAttachmentDefinition")),
    "route.openshift.io": frozenset(("Route",)),
    "network.openshift.io": frozenset(("EgressNetworkPolicy", "NetNamespace")),
    "traefik.io": frozenset(("IngressRoute", "IngressRouteTCP", "IngressRouteUDP")),
    "traefik.containo.us": frozenset(("IngressRoute", "IngressRouteTCP", "IngressRouteUDP")),
    "projectcontour.io": frozenset(("HTTPProxy",)),
    "networking.k8s.io": frozenset(("Ingress",)),
    "extensions": frozenset(("Ingress", "NetworkPolicy")),
    "policy.networking.k8s.io": frozenset(
        ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy")
    ),
}
"""Kinds that decide, of groups that have others as well."""

_POD_MAKERS: Mapping[str, frozenset[str]] = {
    "": frozenset(("PodTemplate",)),
    "extensions": frozenset(("Deployment", "DaemonSet", "ReplicaSet")),
    "apps": frozenset(("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet")),
    "batch": frozenset(("Job", "CronJob", "ScheduledJob")),
    "monitoring.coreos.com": frozenset(
        ("Alertmanager", "Prometheus", "PrometheusAgent", "ThanosRuler")
    ),
    "argoproj.io": frozenset(
        (
            *("Application", "ApplicationSet", "ArgoCD", "CronWorkflow", "EventBus"),
            *("EventSource", "Experiment", "Rollout", "Sensor", "Workflow"),
        )
    ),
    "serving.knative.dev": frozenset(("Configuration", "Revision", "Service")),
    "eventing.knative.dev": frozenset(("Broker", "Trigger")),
    "operator.knative.dev": frozenset(("KnativeEventing", "KnativeServing")),
    "serving.kserve.io": frozenset(("InferenceService",)),
    "apps.openshift.io": frozenset(("DeploymentConfig",)),
    "build.openshift.io": frozenset(("Build", "BuildConfig")),
    "kubevirt.io": frozenset(
        ("VirtualMachine", "VirtualMachineInstance", "VirtualMachineInstanceReplicaSet")
    ),
    "apps.kruise.io": frozenset(
        (
            "AdvancedCronJob",
            "BroadcastJob",
            "CloneSet",
            "DaemonSet",
            "StatefulSet",
            "UnitedDeployment",
        )
    ),
    "tekton.dev": frozenset(("PipelineRun", "TaskRun")),
    "jobset.x-k8s.io": frozenset(("JobSet",)),
    "leaderworkerset.x-k8s.io": frozenset(("LeaderWorkerSet",)),
    "kubeflow.org": frozenset(("MPIJob", "Notebook", "PyTorchJob", "TFJob")),
    "ray.io": frozenset(("RayCluster", "RayJob", "RayService")),
    "sparkoperator.k8s.io": frozenset(("ScheduledSparkApplication", "SparkApplication")),
    "flink.apache.org": frozenset(("FlinkDeployment", "FlinkSessionJob")),
    "kafka.strimzi.io": frozenset(
        ("Kafka", "KafkaBridge", "KafkaConnect", "KafkaMirrorMaker2", "KafkaNodePool")
    ),
    "postgresql.cnpg.io": frozenset(("Cluster", "Pooler")),
    "acid.zalan.do": frozenset(("postgresql",)),
    "postgres-operator.crunchydata.com": frozenset(("PostgresCluster",)),
    "databases.spotahome.com": frozenset(("RedisFailover",)),
    "redis.redis.opstreelabs.in": frozenset(("Redis", "RedisCluster")),
    "mysql.oracle.com": frozenset(("InnoDBCluster",)),
    "mongodb.com": frozenset(("MongoDB",)),
    "mongodbcommunity.mongodb.com": frozenset(("MongoDBCommunity",)),
    "rabbitmq.com": frozenset(("RabbitmqCluster",)),
    "elasticsearch.k8s.elastic.co": frozenset(("Elasticsearch",)),
    "kibana.k8s.elastic.co": frozenset(("Kibana",)),
    "logstash.k8s.elastic.co": frozenset(("Logstash",)),
    "beat.k8s.elastic.co": frozenset(("Beat",)),
    "opensearch.opster.io": frozenset(("OpenSearchCluster",)),
    "cassandra.datastax.com": frozenset(("CassandraDatacenter",)),
    "minio.min.io": frozenset(("Tenant",)),
    "jaegertracing.io": frozenset(("Jaeger",)),
    "opentelemetry.io": frozenset(("OpenTelemetryCollector",)),
    "grafana.integreatly.org": frozenset(("Grafana",)),
    "loki.grafana.com": frozenset(("LokiStack",)),
    "operator.victoriametrics.com": frozenset(
        ("VLogs", "VMAgent", "VMAlert", "VMAlertmanager", "VMCluster", "VMSingle")
    ),
    "k8s.keycloak.org": frozenset(("Keycloak",)),
    "helm.toolkit.fluxcd.io": frozenset(("HelmRelease",)),
    "kustomize.toolkit.fluxcd.io": frozenset(("Kustomization",)),
    "helm.cattle.io": frozenset(("HelmChart",)),
    "core.oam.dev": frozenset(("Application",)),
    "keda.sh": frozenset(("ScaledJob",)),
    "longhorn.io": frozenset(("EngineImage", "InstanceManager", "ShareManager")),
    "ceph.rook.io": frozenset(("CephCluster", "CephFilesystem", "CephObjectStore")),
    "operator.tigera.io": frozenset(("APIServer", "Installation")),
    "install.istio.io": frozenset(("IstioOperator",)),
}
"""Kinds whose controllers make pods, by API group: those that public manifests use most."""

_ELSEWHERE = frozenset(
    (
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "snapshot.storage.k8s.io",
        "storage.k8s.io",
    )
)
"""API groups of which no object has to do with traffic."""
_ELSEWHERE_KINDS = frozenset(
    (
        *("ConfigMap", "Secret", "ServiceAccount", "Event", "LimitRange", "ResourceQuota"),
        *("PersistentVolume", "PersistentVolumeClaim", "Binding", "ComponentStatus"),
    )
)
_TOP = re.compile(
    rb"^(kind|apiVersion):[ \t]+[\"']?([\w./-]+)[\"']?[ \t]*(?:#[^\n]*)?\r?$", re.MULTILINE
)
_TOP_KEYS = re.compile(rb"^(?:kind|apiVersion)\b", re.MULTILINE)


def decides(kind: str, group: str) -> bool:
    """Whether objects of this kind may decide about traffic, by their API group or kind."""
    inside = any(group == known or group.endswith(f".{known}") for known in _DECIDING_GROUPS)
    ours = kind in _DECIDING_KINDS.get(group, frozenset())
    return inside or ours or kind.endswith("NetworkPolicy")


def makes_pods(kind: str, group: str) -> bool:
    """Whether objects of this kind, which Steppe does not read, have pods by their controller."""
    return kind in _POD_MAKERS.get(group, frozenset())


def has_template(document: Mapping[str, object]) -> bool:
    """Whether an object of any kind has a pod template where workloads have theirs: its controller
    then makes pods, whatever the kind.
    """
    spec = document.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    inner = template.get("spec") if isinstance(template, Mapping) else None
    return isinstance(inner, Mapping) and isinstance(inner.get("containers"), list)


def is_elsewhere(kind: str, group: str) -> bool:
    """Whether objects of this kind have nothing to do with traffic."""
    return group in _ELSEWHERE or (group == "" and kind in _ELSEWHERE_KINDS)


def passed_over(text: bytes) -> bool:
    """Whether a document's text is plainly of a kind that has nothing to do with traffic, so that
    nobody needs to decode it: definitions and dashboards are most of what public manifests hold.
    """
    found = dict(_TOP.findall(text))
    if len(found) != 2 or len(_TOP_KEYS.findall(text)) != 2:
        return False
    kind = found[b"kind"].decode()
    return is_elsewhere(kind, group_in(found[b"apiVersion"].decode(), kind))


def listed(names: Iterable[str], most: int = 3) -> str:
    """The first of these names, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
