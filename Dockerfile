# A server for one model, without PyTorch:  docker build -t fer . && docker run --stop-timeout 30 -p 8000:8000 -v ./runs/lips:/lips:ro fer /lips
FROM python:3.13-slim

WORKDIR /app
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY fer_pipeline fer_pipeline
RUN pip install --no-cache-dir --constraint constraints.txt '.[serve]' && useradd --system fer

USER fer
EXPOSE 8000
# Ready, not only alive: a proxy sends nobody here before the models are loaded.
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz')"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["fer", "serve", "--host", "0.0.0.0"]
CMD ["/model"]
