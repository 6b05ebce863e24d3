return require("xlb.certs").serve()
