# TLS contexts, hashes, random numbers and UUIDs.
# expect-status: ok
# expect-stdout: 32 64 36 TLS
import hashlib
import secrets
import ssl
import uuid

context = ssl.create_default_context()
print(len(secrets.token_bytes(32)), len(hashlib.sha256(b"x").hexdigest()), len(str(uuid.uuid4())),
      "TLS" if context.verify_mode == ssl.CERT_REQUIRED else "open")
