# The manager, and nothing but its program: it brings the authorities of the web
# along, and has no PostgreSQL. `make image` builds this out of bin/, without a
# registry.
FROM scratch
COPY runtime-manager /
# State directories are mounted by their place on the engine's host: mount the data
# directory where it is on the host.
ENV RTM_DATA_DIR=/var/lib/runtime-manager RTM_API_ADDRESS=0.0.0.0:7443
EXPOSE 7443
USER 65532:65532
ENTRYPOINT ["/runtime-manager"]
CMD ["serve"]
