import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A namenode and a datanode as far as WebHDFS shows them, by Apache's document "WebHDFS REST API": data goes in two steps, the namenode answers 307 with the
 * datanode's address and takes no data itself; a file is visible under its name while it is being written, and stays, cut off, when the writer goes away.
 */
export interface WebHdfsServer {
  endpoint: string;
  files: Map<string, Buffer>;
  /** Requests by operation and server: `nn CREATE`. */
  seen: string[];
  /** Answers the next requests with this status. */
  fail(times: number, status: number): void;
  /** Executes the next rename and loses the answer. */
  loseRename(): void;
  stop(): Promise<void>;
}

/** @param address of this machine that both listen at */
export async function startWebHdfs(address = '127.0.0.1'): Promise<WebHdfsServer> {
  const files = new Map<string, Buffer>();
  const seen: string[] = [];
  let failures = { times: 0, status: 0 };
  let lost = false;
  let datanode = '';

  const json = (response: ServerResponse, status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const exception = (response: ServerResponse, status: number, name: string, message: string) =>
    json(response, status, { RemoteException: { exception: name, javaClassName: `java.io.${name}`, message } });
  const missing = (response: ServerResponse, path: string) =>
    exception(response, 404, 'FileNotFoundException', `File does not exist: ${path}`);
  const status = (path: string, suffix: string) => {
    const file = files.get(path);
    return {
      accessTime: 0,
      modificationTime: Date.now(),
      length: file?.length ?? 0,
      pathSuffix: suffix,
      type: file === undefined ? 'DIRECTORY' : 'FILE',
    };
  };
  const parse = (request: IncomingMessage) => {
    const url = new URL(request.url!, 'http://x');
    return { path: decodeURIComponent(url.pathname.slice('/webhdfs/v1'.length)), query: url.searchParams, op: url.searchParams.get('op')! };
  };

  const namenode = http.createServer((request, response) => {
    const { path, query, op } = parse(request);
    seen.push(`nn ${op}`);
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    request.on('end', () => {
      if (failures.times > 0) {
        failures.times -= 1;
        return exception(response, failures.status, 'StandbyException', 'Operation category READ is not supported in state standby');
      }
      if (query.get('user.name') !== 'backup') return exception(response, 401, 'AuthenticationException', 'no user');
      if (op === 'CREATE' || op === 'OPEN') {
        if (bytes > 0) return exception(response, 400, 'IllegalArgumentException', 'the namenode takes no data');
        if (op === 'OPEN' && !files.has(path)) return missing(response, path);
        return response.writeHead(307, { location: `${datanode}${request.url}&namenoderpcaddress=nn:8020` }).end();
      }
      if (op === 'GETFILESTATUS') return files.has(path) ? json(response, 200, { FileStatus: status(path, '') }) : missing(response, path);
      if (op === 'LISTSTATUS') return list(response, path);
      if (op === 'DELETE') return json(response, 200, { boolean: files.delete(path) });
      if (op === 'RENAME') {
        const content = files.get(path);
        const to = query.get('destination')!;
        // HDFS does not rename onto an existing file.
        const done = content !== undefined && !files.has(to);
        if (done) {
          files.delete(path);
          files.set(to, content);
        }
        if (lost) {
          lost = false;
          return request.socket.destroy();
        }
        return json(response, 200, { boolean: done });
      }
      return exception(response, 400, 'IllegalArgumentException', `Invalid value for webhdfs parameter "op": ${op}`);
    });
  });

  const list = (response: ServerResponse, path: string) => {
    if (files.has(path)) return json(response, 200, { FileStatuses: { FileStatus: [status(path, '')] } });
    const inner = new Set(
      [...files.keys()].filter((name) => name.startsWith(`${path}/`)).map((name) => name.slice(path.length + 1).split('/')[0]!),
    );
    if (inner.size === 0) return missing(response, path);
    return json(response, 200, { FileStatuses: { FileStatus: [...inner].map((name) => status(`${path}/${name}`, name)) } });
  };

  const data = http.createServer((request, response) => {
    const { path, op } = parse(request);
    seen.push(`dn ${op}`);
    if (op === 'OPEN') {
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(files.get(path));
      return;
    }
    const parts: Buffer[] = [];
    files.set(path, Buffer.alloc(0));
    request.on('data', (chunk: Buffer) => {
      parts.push(chunk);
    });
    request.on('end', () => {
      files.set(path, Buffer.concat(parts));
      response.writeHead(201, { location: `webhdfs://nn:8020${path}` }).end();
    });
    // What came stays, unless the namenode was told to delete the file meanwhile.
    request.on('error', () => {
      if (files.has(path)) files.set(path, Buffer.concat(parts));
    });
  });

  const listen = async (server: http.Server) => {
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    return `http://${address}:${(server.address() as AddressInfo).port}`;
  };
  datanode = await listen(data);
  const endpoint = await listen(namenode);
  return {
    endpoint,
    files,
    seen,
    fail(times, code) {
      failures = { times, status: code };
    },
    loseRename() {
      lost = true;
    },
    async stop() {
      for (const server of [namenode, data]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}
