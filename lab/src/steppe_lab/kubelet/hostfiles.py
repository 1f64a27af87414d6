"""The text of a pod's /etc/hosts and /etc/resolv.conf, as kubelet writes them. Pure."""

from collections.abc import Iterable

from steppe_lab.kubelet.config import DnsSettings
from steppe_lab.kubelet.records import Pod

# kubelet: "defaultDNSOptions = []string{"ndots:5"}"
_CLUSTER_OPTION = "ndots:5"


def hosts(pod: Pod, addresses: tuple[str, ...], domain: str) -> str:
    """Loopback names, the pod's own name by each of its addresses, then its aliases."""
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    names = pod.hostname
    if pod.spec.subdomain:
        meta = pod.metadata
        names = f"{names}.{pod.spec.subdomain}.{meta.namespace}.svc.{domain}\t{names}"
    lines += [f"{address}\t{names}" for address in addresses]
    if pod.spec.host_aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join((alias.ip, *alias.hostnames)) for alias in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Pod, dns: DnsSettings, host: str) -> str:
    """By dnsPolicy: the cluster's servers, the host's own file, or nothing; then dnsConfig."""
    servers, searches, options = _by_policy(pod, dns, host)
    config = pod.spec.dns_config
    extra = [
        f"{option.name}:{option.value}" if option.value else option.name
        for option in config.options
    ]
    # "Duplicated entries will be removed"; an option given again overrides the earlier one.
    replaced = {option.split(":")[0] for option in extra}
    options = [one for one in options if one.split(":")[0] not in replaced] + extra
    lines = [f"nameserver {server}" for server in _unique((*servers, *config.nameservers))]
    domains = _unique((*searches, *config.searches))
    if domains:
        lines.append("search " + " ".join(domains))
    if options:
        lines.append("options " + " ".join(options))
    return "".join(f"{line}\n" for line in lines)


def _by_policy(pod: Pod, dns: DnsSettings, host: str) -> tuple[list[str], list[str], list[str]]:
    policy = pod.spec.dns_policy
    if policy == "ClusterFirst" and pod.spec.host_network:
        # "for Pods running with hostNetwork, you should explicitly set … ClusterFirstWithHostNet"
        policy = "Default"
    if policy == "None":
        return [], [], []
    # Without a cluster DNS server kubelet falls back to "Default" and says so.
    if policy == "Default" or not dns.nameservers:
        return _parsed(host)
    namespace, domain = pod.metadata.namespace, dns.domain
    searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *dns.searches]
    return list(dns.nameservers), searches, [_CLUSTER_OPTION]


def _parsed(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *names]:
                searches = names  # "the last instance wins" (resolv.conf(5))
            case ["options", *names]:
                options += names
    return servers, searches, options


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
