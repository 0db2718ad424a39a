// need stops a program that lacks a setting.
export function need(...names) {
  for (const name of names) {
    if (!process.env[name]) throw new Error(`set ${name}`)
  }
}

// listen serves on the loopback unless HOST names another address, and says where.
export function listen(app, service, port) {
  const server = app.listen(process.env.PORT ?? port, process.env.HOST ?? '127.0.0.1', (error) => {
    if (error) throw error
    console.log(`${service}: http://127.0.0.1:${server.address().port}`)
  })
}
