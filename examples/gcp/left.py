"""Count what of a cluster is still in a project: `python examples/gcp/left.py NAME [PROJECT]`. Exit code 1 if any is.

It asks Compute Engine itself, by the labels and names that `infra` gives all that it makes.
"""
# ruff: noqa: T201  # it is there to print

import os
import sys

import google.auth
from google.cloud import compute_v1

name, project = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "infrakit-test"
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/compute.readonly"])
options = {"universe_domain": credentials.universe_domain}
if endpoint := os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"):
    options["api_endpoint"] = endpoint
labelled = f"labels.infrakit-cluster={name}"
found = {}
for what, client, ours in (
    ("instances", compute_v1.InstancesClient, labelled),
    ("disks", compute_v1.DisksClient, labelled),
    ("addresses", compute_v1.AddressesClient, f'description eq "kept by infrakit for {name}/.*"'),
):
    listing = client(credentials=credentials, client_options=options)
    pages = listing.aggregated_list(request={"project": project, "filter": ours})
    found[what] = sum(len(getattr(scoped, what)) for _, scoped in pages)
print(f"{name}:", ", ".join(f"{number} {what}" for what, number in found.items()))
sys.exit(any(found.values()))
