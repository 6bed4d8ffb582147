"""The policies and flavors that come with infrakit-py."""
