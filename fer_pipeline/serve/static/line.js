// The connection to /live. A lost one is sought again, each time later; one the server refused is not.
const WAITS = [0.5, 1, 2, 4, 8, 8, 8]; // s; after the last the line is given up
const IDLE = 4000; // close code: no frame came for long, so the server gave our place away until there is one
const REFUSED = [1008, 1013]; // close codes: not allowed, too many cameras

export class Line {
  // address: () => URL; on: {open(), answer(object), lost(seconds), end(problem, values)}
  constructor(address, on) {
    this.address = address;
    this.on = on;
    this.tries = 0;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(this.address());
    let detail = "";
    this.socket = socket;
    socket.addEventListener("open", () => this.on.open());
    socket.addEventListener("message", ({ data }) => {
      const answer = JSON.parse(data);
      this.tries = 0; // not at `open`: a server that closes at once would be asked for ever
      if (answer.detail) detail = answer.detail;
      else this.on.answer(answer);
    });
    socket.addEventListener("close", ({ code }) => {
      if (socket !== this.socket) return;
      if (code === IDLE) this.asleep = true;
      else if (REFUSED.includes(code)) this.end("refused_frames", { detail });
      else this.retry();
    });
  }

  retry() {
    const seconds = WAITS[this.tries];
    this.tries += 1;
    if (!seconds) {
      this.end("given_up");
      return;
    }
    this.on.lost(seconds);
    this.timer = setTimeout(() => this.connect(), seconds * 1000);
  }

  end(problem, values) {
    this.close();
    this.on.end(problem, values);
  }

  // There is something to send again.
  wake() {
    if (!this.asleep) return;
    this.asleep = false;
    this.connect();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  send(data) {
    if (this.isOpen) this.socket.send(data);
  }

  close() {
    clearTimeout(this.timer);
    const { socket } = this;
    this.socket = null;
    socket?.close();
  }
}
