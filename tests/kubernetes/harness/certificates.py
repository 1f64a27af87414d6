"""The cluster's certificate authority and the credentials that it gives out."""

import datetime as dt
import ipaddress
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)


class Authority:
    """Writes NAME.crt and NAME.key (PEM) into one folder; its own certificate is ca.crt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "steppe-tests")])
        built = self._built(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        (folder / "ca.crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
        self._write_key("ca", self._key)
        self.service_accounts()

    def service_accounts(self) -> None:
        """sa.key and sa.pub, which sign and check the tokens of service accounts."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write_key("sa", key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / "sa.pub").write_bytes(public)

    def issue(self, name: str, user: str, group: str = "", *, names: tuple[str, ...] = ()) -> None:
        """A client's certificate; a server's if it has names (DNS names and addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usage = Usage.SERVER_AUTH if names else Usage.CLIENT_AUTH
        extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage([usage])]
        if names:
            extensions.append(x509.SubjectAlternativeName([_general(one) for one in names]))
        built = self._built(x509.Name(subject), key, *extensions)
        (self.folder / f"{name}.crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
        self._write_key(name, key)

    def kubeconfig(self, name: str, server: str, user: str, group: str = "") -> Path:
        """A kubeconfig with a client's certificate of its own."""
        self.issue(name, user, group)
        cluster = {"server": server, "certificate-authority": str(self.folder / "ca.crt")}
        files = (("client-certificate", "crt"), ("client-key", "key"))
        given = {field: str(self.folder / f"{name}.{end}") for field, end in files}
        path = self.folder / f"{name}.kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": name, "user": given}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
            "current-context": "tests",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def _built(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 30 * _DAY)
        )
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        path = self.folder / f"{name}.key"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
