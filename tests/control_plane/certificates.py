"""Certificates and keys of one control plane: an authority made for one test run, valid for a few days, on elliptic
curves because they take a millisecond where RSA takes a third of a second."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = dt.timedelta(days=7)
_CLOCK_SKEW = dt.timedelta(hours=1)


class Authority:
    """Signs the certificates of one control plane and writes them to a folder."""

    def __init__(self, folder: Path, name: str = "oarlock-test-ca") -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._build_own_certificate(name)
        self.certificate_file = folder / "ca.crt"
        self.certificate_file.write_bytes(_encode_certificate(self._certificate))
        write_key(folder / "ca.key", self._key)

    def write_server_certificate(self, name: str) -> tuple[Path, Path]:
        hosts = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        services = [x509.DNSName(host) for host in ("kubernetes", "kubernetes.default", "kubernetes.default.svc")]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._write(name, common_name=name, organization=None, usage=usage, hosts=[*hosts, *services])

    def write_client_certificate(self, name: str, *, user: str, group: str) -> tuple[Path, Path]:
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._write(name, common_name=user, organization=group, usage=usage, hosts=[])

    def _write(
        self,
        name: str,
        *,
        common_name: str,
        organization: str | None,
        usage: x509.ObjectIdentifier,
        hosts: list[x509.GeneralName],
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._begin(_build_name(common_name, organization), key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        certificate_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate_file.write_bytes(_encode_certificate(builder.sign(self._key, hashes.SHA256())))
        return certificate_file, write_key(key_file, key)

    def _build_own_certificate(self, name: str) -> x509.Certificate:
        builder = self._begin(_build_name(name), self._key.public_key(), issuer=_build_name(name))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_SIGNING_USAGE, critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def _begin(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=issuer or self._certificate.subject,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - _CLOCK_SKEW,
            not_valid_after=now + _VALID,
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(own, critical=False)


# Python 3.13 refuses an authority that does not say what its key is for.
_SIGNING_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def write_service_account_keys(folder: Path) -> tuple[Path, Path]:
    """Write the key pair that signs and checks the tokens of service accounts."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = folder / "service-account.pub"
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return write_key(folder / "service-account.key", key), public


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    path.touch(mode=0o600)
    # The traditional form: the one that every release of Kubernetes reads for service account keys.
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return path


def _build_name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _encode_certificate(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
