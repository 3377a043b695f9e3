# One image for everything that runs in a container: pipeline steps, the model server, the tracking server.
#   docker run -v runs:/var/lib/evernas/runs IMAGE run examples/adult/spec.yaml --force
#   docker run -v runs:/var/lib/evernas/runs -p 8080:8080 IMAGE serve adult-income --host 0.0.0.0
#   docker run --entrypoint mlflow IMAGE server ...
# The smaller CPU build of torch: --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's CPU index>

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/evernas
WORKDIR /src
# The dependencies first, with a package of nothing: while they stay the same, this layer is used again.
COPY constraints.txt pyproject.toml ./
RUN mkdir nas_core components pipelines && touch LICENSE NOTICE README.md \
    && /opt/evernas/bin/python -m pip install --constraint constraints.txt '.[stages,kfp]'
COPY . .
RUN /opt/evernas/bin/python -m pip install --no-deps --force-reinstall . \
    && /opt/evernas/bin/python -m pip check \
    && /opt/evernas/bin/python -m pip uninstall --yes pip

FROM ${BASE}
ARG IMAGE=evernas
LABEL org.opencontainers.image.title="evernas" \
      org.opencontainers.image.description="Continuous neural architecture search: from data drift to a deployed, audited model" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /opt/evernas /opt/evernas
# Any user id works as long as its group is 0: clusters that give pods random ids give them that group.
RUN mkdir -p /home/evernas/.config /var/lib/evernas/runs && chmod -R g=u /home/evernas /var/lib/evernas
COPY examples /home/evernas/examples
ENV PATH=/opt/evernas/bin:$PATH HOME=/home/evernas USER=evernas PYTHONUNBUFFERED=1 \
    EVERNAS_ROOT=/var/lib/evernas/runs EVERNAS_IMAGE=$IMAGE MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
WORKDIR /home/evernas
USER 1000:0
ENTRYPOINT ["evernas"]
CMD ["--help"]
