// Starts the package's origin server on a free port: node conformance-origin.mjs PACKAGE_DIR
import http from 'node:http'
import os from 'node:os'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

// The server listens on every interface; nobody but this machine has business with it.
const listen = http.Server.prototype.listen
http.Server.prototype.listen = function (port) {
  return listen.call(this, port, '127.0.0.1')
}
Object.assign(process.env, {
  npm_config_protocol: 'http',
  npm_config_port: '0',
  npm_config_pidfile: os.devNull
})
await import(pathToFileURL(resolve(process.argv[2], 'server/server.mjs')))
