"""Write the shapes of the built-in kinds, taken from the `kubernetes` package's models.

    python tools/gen_schemas.py > src/steppe/admission/schemas.json

One line a type, so that a diff reads: {"core.v1.Taint": {"effect!": "string", ...}}. A field is
required where its name ends in "!"; "[T]" is a list and "{T}" a map. Only field names and types
are taken. The models know neither quantities nor int-or-string fields; those are named here.
"""

import json
import re
import sys
from typing import Any

from kubernetes.client import models

# The order matters: a type belongs to the group that reaches it first.
ROOTS = {
    "core.v1": "Namespace Node Pod Service Endpoints ConfigMap Secret CoreV1Event ServiceAccount"
    " ReplicationController",
    "apps.v1": "Deployment ReplicaSet DaemonSet StatefulSet",
    "batch.v1": "Job CronJob",
    "discovery.v1": "EndpointSlice",
    "coordination.v1": "Lease",
    "events.v1": "EventsV1Event",
    "networking.v1": "NetworkPolicy Ingress IngressClass IPAddress ServiceCIDR",
    "apiextensions.v1": "CustomResourceDefinition",
    "rbac.v1": "Role ClusterRole RoleBinding ClusterRoleBinding",
    "policy.v1": "PodDisruptionBudget",
    "autoscaling.v1": "Scale",
}
META = {
    "V1Condition",
    "V1LabelSelector",
    "V1LabelSelectorRequirement",
    "V1ManagedFieldsEntry",
    "V1ObjectMeta",
    "V1OwnerReference",
}
# Reached only from other groups' kinds, but core's by right.
CORE = {
    "V1PersistentVolumeClaim",
    "V1PersistentVolumeClaimCondition",
    "V1PersistentVolumeClaimStatus",
    "V1ModifyVolumeStatus",
    "V1PodTemplateSpec",
}
SCALARS = {
    "bool": "boolean",
    "bytes": "bytes",
    "datetime": "time",
    "float": "number",
    "int": "integer",
    "object": "any",
    "str": "string",
}
INT_OR_STRING = {"port", "targetPort", "maxSurge", "maxUnavailable", "minAvailable"}
QUANTITIES = {
    ("V1ContainerStatus", "allocatedResources"),
    ("V1EmptyDirVolumeSource", "sizeLimit"),
    ("V1NodeStatus", "allocatable"),
    ("V1NodeStatus", "capacity"),
    ("V1PersistentVolumeClaimStatus", "allocatedResources"),
    ("V1PersistentVolumeClaimStatus", "capacity"),
    ("V1PodSpec", "overhead"),
    ("V1ResourceFieldSelector", "divisor"),
    ("V1ResourceRequirements", "limits"),
    ("V1ResourceRequirements", "requests"),
    ("V1VolumeResourceRequirements", "limits"),
    ("V1VolumeResourceRequirements", "requests"),
}


def short_name(model: str) -> str:
    return re.sub(r"^(Core|Discovery|Events|Rbac|Apiextensions)?V1", "", model)


class Shapes:
    """The types reached so far: model name to full name, full name to fields."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.types: dict[str, dict[str, str]] = {}

    def add(self, model: str, package: str) -> str:
        if model in self.names:
            return self.names[model]
        home = "meta.v1" if model in META else "core.v1" if model in CORE else package
        name = self.names[model] = f"{home}.{short_name(model)}"
        cls: Any = getattr(models, model)
        fields: dict[str, str] = {}
        required = {
            info.serialization_alias or field
            for field, info in cls.model_fields.items()
            if info.is_required()
        }
        for attribute, declared in cls.openapi_types.items():
            if "V1alpha" in declared or "V1beta" in declared:
                continue  # alpha fields are off in a default cluster
            json_name = cls.attribute_map[attribute]
            mark = "!" if json_name in required else ""
            fields[json_name + mark] = self.field_type(model, json_name, declared, package)
        self.types[name] = dict(sorted(fields.items()))
        return name

    def field_type(self, model: str, field: str, declared: str, package: str) -> str:
        if (model, field) in QUANTITIES:
            return "{quantity}" if declared.startswith("Dict") else "quantity"
        if declared.startswith("List["):
            return f"[{self.field_type(model, field, declared[5:-1], package)}]"
        if declared.startswith("Dict["):
            return f"{{{self.field_type(model, field, declared[10:-1], package)}}}"
        if declared == "object" and field in INT_OR_STRING:
            return "int-or-string"
        return SCALARS.get(declared) or self.add(declared, package)


def main() -> None:
    shapes = Shapes()
    for package, roots in ROOTS.items():
        for root in roots.split():
            shapes.add(root if hasattr(models, root) else f"V1{root}", package)
    lines = [f"{json.dumps(n)}: {json.dumps(f)}" for n, f in sorted(shapes.types.items())]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
